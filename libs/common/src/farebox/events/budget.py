"""What subscribers learn of budgets: state, thresholds crossed and resolved, exhaustion."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from farebox.decimals import AsText
from farebox.events.envelope import CloudEvent, Instant
from farebox.events.usage import Currency, Name, Part

Figure = Annotated[int, Field(ge=0, description="Nano-units of the budget's currency, or a plain count.")]

Measure = Literal["money", "requests", "tokens"]
AccountKind = Literal["platform", "org", "team", "user", "key"]
WindowKind = Literal["day", "week", "month", "cycle", "lifetime"]
Mode = Literal["hard", "soft", "shadow"]


class AccountRef(Part):
    """An account by id and kind, with the name people know it by."""

    id: Name
    kind: AccountKind
    name: str


class BudgetWindow(Part):
    """The span a limit counts in: [start, end), instants in UTC, computed in the IANA zone. A lifetime has no end."""

    kind: WindowKind
    start: Instant
    end: Instant | None
    zone: Name


class Locale(Part):
    """How to speak to the account's people."""

    language: Literal["vi", "ko", "en"]
    zone: Name


class ThresholdMark(Part):
    """A threshold as configured: a share of the limit in percent, or an absolute amount; exactly one is set."""

    severity: Name
    percent: Annotated[Decimal, Field(gt=0, le=1000, decimal_places=4), AsText()] | None = None
    amount: Figure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("either percent or amount is set")
        return self


class BudgetState(Part):
    """A budget window at one instant.

    Amounts are in nano-units of `currency` where `measure` is money, plain counts otherwise (`currency` is null then).
    `spent` is posted charges and suspense; `held` is promised to running requests; `uncertain` may have been billed
    beyond the charge; `remaining` = limit − spent − held − uncertain, never below 0. `revision` grows with every change
    of the window: keep the highest, whatever order records arrive in.
    """

    budget_id: UUID
    budget_name: str
    account: AccountRef
    path: tuple[Name, ...] = Field(description="Account ids from the platform down to the budget's own account.")
    measure: Measure
    currency: Currency | None
    mode: Mode
    window: BudgetWindow
    limit: Figure
    limit_revision: Annotated[int, Field(ge=1)]
    spent: int
    held: Figure
    uncertain: Figure = Field(
        default=0, description="What providers may have billed beyond the charge where they did not report the usage."
    )
    remaining: Figure
    percent_spent: Annotated[Decimal, Field(max_digits=30, decimal_places=2), AsText()] = Field(
        description="spent ÷ limit in percent, rounded half-even to two decimals; 100.00 where the limit is 0."
    )
    thresholds: tuple[ThresholdMark, ...] = Field(
        default=(),
        description="The budget's thresholds, lowest first. Pages and mails take their colours from them: first amber, "
        "second and above red; the highest is the one that calls for action.",
    )
    active: bool = True
    revision: Annotated[int, Field(ge=1)]


class BudgetEvent(CloudEvent):
    """What every event on `budget.events` carries. Its record's key is the budget's id."""

    budget: BudgetState
    locale: Locale
    notify_people: bool = Field(
        default=True,
        description="Whether people should get a message: false for all but the highest threshold one posting crossed; "
        "for a mark that is provisional, or of which they heard less than a day before; for the end of an occurrence "
        "that they did not hear of; and where the account has switched alerts off.",
    )
    entry_id: UUID | None = Field(default=None, description="The ledger entry that brought it about, if one did.")


class MarkCrossed(BudgetEvent):
    """What every event carries that says what spending reached."""

    occurrence: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="Numbers the crossings of this mark in this window from 1, under whatever limit. A mark is crossed "
        "again after it was resolved, under another limit, or when it was provisional and is not any more.",
    )
    provisional: bool = Field(
        default=False,
        description="Reached only with what a lost gateway may have spent (suspense). When posted charges reach it "
        "alone, that is the next occurrence.",
    )


class ThresholdCrossed(MarkCrossed):
    """Spending reached a threshold: exactly one event per budget, window, threshold, limit revision and occurrence."""

    type: ClassVar[str] = "farebox.budget.threshold_crossed.v1"

    threshold: ThresholdMark


class ThresholdResolved(BudgetEvent):
    """A raise, credit or correction brought spending below a threshold that had been crossed."""

    type: ClassVar[str] = "farebox.budget.threshold_resolved.v1"

    threshold: ThresholdMark
    occurrence: Annotated[int, Field(ge=1)] = Field(default=1, description="The occurrence that ends.")


class BudgetExhausted(MarkCrossed):
    """A hard budget refused a request, or has nothing left. Once per window, limit revision and occurrence.

    Nothing is told of its end; the next occurrence can follow once less is spent, or the limit or suspense has changed.
    """

    type: ClassVar[str] = "farebox.budget.exhausted.v1"


class BudgetOverLimit(MarkCrossed):
    """More is spent than the limit allows: it was cut below what is out, or a charge came in above its reserve.

    Nothing is told of its end; the next occurrence can follow once spending is within the limit again.
    """

    type: ClassVar[str] = "farebox.budget.over_limit.v1"


class BalanceChanged(CloudEvent):
    """The newest state of a budget's present window; `budget.balances` is compacted by budget id.

    What is posted late to a window that is over is not told here; that window's alerts are, on `budget.events`.
    """

    type: ClassVar[str] = "farebox.budget.balance_changed.v1"

    budget: BudgetState
