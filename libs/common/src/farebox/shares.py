"""The words a gateway and the budget service exchange about shares (DESIGN §4.1). Wire types only, no rule.

A share is what one epoch of one gateway holds of one budget window. Everything said about it is a total that only
grows: `granted` is the service's word, `returned` and `overdrawn` are the gateway's. Of two totals the larger is true,
so a message that comes twice, late, out of order or never changes nothing.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from farebox.events import AccountRef, BillingTerms, CallAttributes, Measure, Principal
from farebox.events.budget import Figure, Mode
from farebox.events.usage import Currency, Name, NanoAmount


class Wire(BaseModel):
    """A message between services of one deployment: both ends are upgraded within one release of each other."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Attributes(Wire):
    """What a budget may be narrowed to. Null means any."""

    provider: Name | None = None
    model: Name | None = None
    feature: Name | None = None
    session: Name | None = None


class Need(Wire):
    """An amount before the billing currency is known: cost in nano-USD, calls, tokens."""

    cost_nano_usd: NanoAmount
    requests: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)]


class WindowRef(Wire):
    """One window of one budget."""

    budget_id: UUID
    window_start: AwareDatetime


class ShareReport(WindowRef):
    """A gateway's totals of one share. `granted` is what it was told, for a service that has forgotten."""

    granted: Figure
    returned: Figure = 0
    overdrawn: Figure = 0


class ShareTotal(WindowRef):
    """The service's total of one share, in the budget's measure."""

    measure: Measure
    granted: Figure


class WindowAsk(WindowRef):
    """Asks to raise `granted` of one window, in three totals, each at least the one before it.

    `least`: the smallest total that admits the request at hand (with clamping: its input and `min_output_tokens`; else
    the same as `need`). `need`: its worst case in full. `want`: what the gateway would like to hold ahead of need.
    """

    least: Figure
    need: Figure
    want: Figure


class Opening(Wire):
    """The first request of a key that this gateway does not know: the shares that its epoch lacks are opened."""

    attributes: CallAttributes
    least: Need
    need: Need


class Ask(Wire):
    """One question: a key's policy, and either an opening or raises of the windows that are short, or neither.

    The windows of one ask are raised all or none.
    """

    key_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    opening: Opening | None = None
    windows: tuple[WindowAsk, ...] = ()


ASKS_MAX = 200
"""Asks in one message."""


class RaiseRequest(Wire):
    """Asks that came together, answered in one transaction. `reports` are taken first."""

    gateway_id: Name
    epoch: Annotated[int, Field(ge=1)]
    asks: Annotated[tuple[Ask, ...], Field(max_length=ASKS_MAX)]
    reports: tuple[ShareReport, ...] = ()


class PathBudget(Wire):
    """A budget on a key's path, with its present window: whether to hold a share of it, and what to tell the caller.

    `ends_in_ms` counts from the answer's receipt, on the gateway's monotonic clock; null for a lifetime.
    """

    budget_id: UUID
    name: str
    account: AccountRef
    measure: Measure
    currency: Currency | None
    mode: Mode
    narrowed_to: Attributes
    limit: Figure
    spent: int
    held: Figure
    uncertain: Figure = 0
    window_start: AwareDatetime
    resets_at: AwareDatetime | None
    ends_in_ms: int | None


class Policy(Wire):
    """All a gateway knows of a key. Cached for `fresh_for_ms`, dropped early when `account.policy` names its path."""

    principal: Principal
    billing: BillingTerms
    language: Literal["vi", "ko", "en"]
    zone: Name
    clamp: bool
    min_output_tokens: Annotated[int, Field(ge=1)]
    allowed_models: tuple[Name, ...] | None
    blocked_models: tuple[Name, ...]
    budgets: tuple[PathBudget, ...]
    fresh_for_ms: Annotated[int, Field(ge=0)]


RefusalCode = Literal["budget_exceeded", "insufficient_balance", "quota_exceeded"]


class RaiseRefusal(Wire):
    """The first budget, from the platform down, that cannot carry `least`.

    `is_recalling`: other gateways hold rights in it that may lie idle, and have been asked for them; what they give
    back is there within a beat or two, so asking once more then is worth it.
    """

    code: RefusalCode
    budget_id: UUID
    is_recalling: bool = False


class Answer(Wire):
    """To one ask. `policy` is null for a key that is unknown or revoked; `shares` are the totals there are now."""

    policy: Policy | None
    shares: tuple[ShareTotal, ...] = ()
    refusal: RaiseRefusal | None = None


class RaiseAnswer(Wire):
    """An answer to every ask, in their order."""

    answers: tuple[Answer, ...]


class WindowSpent(WindowRef):
    """What an epoch spent of one window in all, uncertain amounts included."""

    spent: Figure


class StartRequest(Wire):
    """A gateway comes up. Asked again by the same process, it gets the same epoch.

    `last_epoch` and `last_record` are what its journal knows, 0 for a new journal. `is_whole` says that the journal has
    no gap, no damage, and was written in this boot of the machine or closed in order. Only then, and where the service
    knows no later epoch or record, `spent` is the final word on the epoch before; what it does not name was never used.
    Else that epoch's shares stay held, in suspense.

    Where `spent` takes several messages, all but the last say `more`: nothing is concluded from what they leave out.
    """

    gateway_id: Name
    process_id: UUID
    last_epoch: Annotated[int, Field(ge=0)]
    last_record: Annotated[int, Field(ge=0)]
    is_whole: bool
    spent: tuple[WindowSpent, ...] = ()
    more: bool = False


class StartAnswer(Wire):
    """The new epoch; every call of an older one is answered with 409 `fenced`. `now` as in `BeatAnswer`."""

    epoch: Annotated[int, Field(ge=1)]
    now: AwareDatetime | None = None


class Beat(Wire):
    """Every second: shares whose totals grew, a slice of the others, and the number of the journal's last record.

    `policy_revision` is the newest change of a policy that this gateway has taken note of.
    """

    gateway_id: Name
    epoch: Annotated[int, Field(ge=1)]
    last_record: Annotated[int, Field(ge=0)] = 0
    policy_revision: Annotated[int, Field(ge=0)] = 0
    reports: tuple[ShareReport, ...] = ()


class BeatAnswer(Wire):
    """The service's totals of the shares that were reported; windows whose idle rights are to come back with the next
    beat, which follows at once; and accounts whose policy has changed up to `policy_revision` (null: any may have)."""

    shares: tuple[ShareTotal, ...] = ()
    recalled: tuple[WindowRef, ...] = ()
    policy_revision: int = 0
    changed: tuple[Name, ...] | None = ()
    now: AwareDatetime | None = None
    """The time of the books: prices, windows and charges go by it, whatever a gateway's own clock shows."""
