"""A run of the fault harness that went well, small enough to be broken by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from chaos.budgets import Budget
from chaos.calls import Call
from chaos.evidence import Evidence, Told
from chaos.knowledge import Run
from chaos.oracle import Verdict, judge
from chaos.tariff import SEED, Rate, Tariff
from chaos.tenants import Key, Tenant
from farebox.events import (
    AccountRef,
    BalanceChanged,
    BudgetState,
    BudgetWindow,
    Locale,
    Principal,
    ThresholdCrossed,
    ThresholdMark,
    ThresholdResolved,
    UsagePriced,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
START = datetime(1970, 1, 1, tzinfo=UTC)
COST = 100 * 150 + 50 * 600
SPACE = UUID(int=1)
HALF = ThresholdMark(severity="at_50", percent="50")
BUDGET = uuid5(SPACE, "budget")
ANSWERED_S = 0.5


def attempt(number: int) -> UUID:
    return uuid5(SPACE, f"attempt {number}")


class World:
    """Two calls of one key, both answered, billed and charged; its org's budget spent, and its half was told.

    Instants are seconds from NOON on.
    """

    def __init__(self) -> None:
        self.budget = Budget(str(BUDGET), "acme", "money", "hard", (50,), {1: 2 * COST}, 2 * COST)
        self.key = Key("key", "fbx_secret", ("platform", "acme", "acme-a", "acme-a1"))
        tenant = Tenant("acme", "USD", 1, clamp=False, keys=[self.key], budgets=[self.budget])
        tenant.hooks.append(("acme", "acme"))
        tenant.mailboxes.append(("acme", "acme@example.com"))
        tariff = Tariff()
        for model, rate in SEED.items():
            tariff.put(model, rate)
        calls = [_call(tenant, number) for number in (1, 2)]
        self.run = Run(NOON, [tenant], [], calls, tariff)
        told = _told(2)
        delivery = uuid5(SPACE, "mail")
        self.evidence = Evidence(
            bill=[_line(number) for number in (1, 2)],
            mails=[str(delivery)],
            hooks={"acme": [(told.id, True)]},
            ledger=[_row(number) for number in (1, 2)],
            suspense=set(),
            priced={attempt(number): _priced(number) for number in (1, 2)},
            windows=[_window(posted=2 * COST)],
            held=[],
            held_in={},
            crossings=[{"event_id": UUID(told.id), "mark": "percent:50", "budget_id": BUDGET, "limit_revision": 1}],
            events=[told],
            balances=[],
            catalogue={},
            deliveries=[
                {"delivery_id": delivery, "event_id": UUID(told.id), "state": "delivered", "account": "acme"}
                | {"kind": "email", "url": None}
            ],
            dead={},
            audit="",
        )

    def verdict(self) -> Verdict:
        return judge(self.run, self.evidence)

    def found(self) -> set[str]:
        return {finding.kind for finding in self.verdict().findings}

    def see(self, **other: Any) -> None:
        """Other evidence."""
        self.evidence = replace(self.evidence, **other)

    def know(self, **other: Any) -> None:
        """Another story of the harness."""
        self.run = replace(self.run, **other)

    def call(self, number: int, **facts: Any) -> Call:
        """Another story of a call."""
        call = self.run.calls[number - 1]
        for name, value in facts.items():
            setattr(call, name, value)
        return call

    def window(self, *, posted: int, start: datetime = START) -> dict[str, Any]:
        """A row of the budget's windows."""
        return {**_window(posted=posted), "window_start": start}

    def rate(self, **changed: int) -> Rate:
        """The price of the calls' model, or one a little different."""
        return replace(SEED["gpt-4o-mini"], **changed)

    def tell(self, events: list[Told]) -> None:
        """Other events, all of which came to the webhook, and to nobody's mailbox."""
        self.see(events=events, hooks={"acme": [(told.id, True) for told in events]})
        self.run.tenants[0].mailboxes.clear()

    def move(self, number: int, began: float) -> None:
        """A call at another time."""
        at = NOON + timedelta(seconds=began)
        self.call(number, began=began, ended=began + ANSWERED_S)
        self.bill(number, at=at.isoformat())
        priced = self.evidence.priced
        self.see(priced={**priced, attempt(number): priced[attempt(number)].model_copy(update={"occurred_at": at})})

    def forget_the_second_call(self) -> None:
        """It never came to the provider, and is in no book."""
        self.lose_a_charge()
        self.see(bill=self.evidence.bill[:1])
        self.call(2, billed=None)

    def bill(self, number: int, **figures: Any) -> None:
        """Another line on the provider's bill."""
        lines = list(self.evidence.bill)
        lines[number - 1] = {**lines[number - 1], **figures}
        self.see(bill=lines)

    def lose_a_charge(self) -> None:
        """The second call was billed, and is in no book."""
        priced = {attempt(1): _priced(1)}
        self.see(ledger=[_row(1)], priced=priced, windows=[_window(posted=COST)])

    def see_spent(self, *spent: int) -> None:
        """The balances that were published, one after the other, all under the first limit."""
        (told, *_) = self.evidence.events
        states = [
            told.event.budget.model_copy(update={"spent": each, "revision": place})
            for place, each in enumerate(spent, 1)
        ]
        self.see(balances=[BalanceChanged(budget=state) for state in states])

    def see_marks(self, *marks: ThresholdCrossed | ThresholdResolved) -> None:
        """What was told of the one threshold, of which all heard."""
        told = [Told(str(uuid5(SPACE, f"mark {place}")), 1, event) for place, event in enumerate(marks)]
        deliveries = [{"delivery_id": UUID(each.id), "event_id": UUID(each.id), "kind": "email"} for each in told]
        self.see(
            events=told,
            crossings=[],
            hooks={"acme": [(each.id, True) for each in told]},
            mails=[each.id for each in told],
            deliveries=[each | {"account": "acme", "state": "delivered", "url": None} for each in deliveries],
        )

    def lose_the_gateway(self, *, suspended: int, at: float = 0.4) -> None:
        """Its node went down, and what it held is in suspense."""
        held = {"gateway_id": "gateway", "epoch": 1, "suspended_at": NOON, "budget_id": BUDGET, "held": suspended}
        held |= {"story": "what a lost gateway held"}
        self.know(lost_nodes=[("gateway", at)])
        self.see(held=[held], windows=[_window(posted=COST, suspended=suspended)])


def changed_rows(rows: Any, **fields: Any) -> list[Any]:
    """The rows with other values in the last one."""
    return [*rows[:-1], {**rows[-1], **fields}]


def _call(tenant: Tenant, number: int) -> Call:
    key = tenant.keys[0]
    call = Call(f"call-{number}", tenant, key, "gateway", "gpt-4o-mini", False, None, COST, COST, 100, 50, 0.0)
    call.status, call.billed, call.is_whole, call.ended = 200, COST, True, ANSWERED_S
    return call


def _line(number: int) -> dict[str, Any]:
    tokens = {"prompt_tokens": 100, "cached_tokens": 0, "completion_tokens": 50}
    facts = {"request_id": str(attempt(number)), "user": f"call-{number}", "model": "gpt-4o-mini", "status": 200}
    return facts | tokens | {"stream": False, "fault": None, "at": NOON.isoformat()}


def _row(number: int) -> dict[str, Any]:
    id_ = attempt(number)
    return {"entry_id": id_, "kind": "charge", "attempt_id": id_, "amount_nano": COST, "cost_nano_usd": COST}


def _priced(number: int) -> UsagePriced:
    id_ = attempt(number)
    return UsagePriced(
        entry_id=id_,
        attempt_id=id_,
        request_id=id_,
        occurred_at=NOON,
        priced_at=NOON,
        principal=Principal(org="acme", team="acme-a", user="acme-a1", key="key"),
        provider="openai",
        model="gpt-4o-mini",
        cost_nano_usd=COST,
        billed_nano=COST,
        currency="USD",
        price_version="seed",
        tokens=150,
        usage_source="reported",
    )


def _window(*, posted: int, suspended: int = 0) -> dict[str, Any]:
    figures = {"posted": posted, "suspended": suspended, "escrowed": 0}
    return {"budget_id": BUDGET, "window_start": START, "limit_revision": 1, "revision": 9} | figures


def crossed(occurrence: int = 1, **fields: Any) -> ThresholdCrossed:
    """The budget's threshold was crossed."""
    common = {"budget": _state(), "locale": Locale(language="en", zone="UTC"), "threshold": HALF}
    return ThresholdCrossed.model_validate(common | {"occurrence": occurrence} | fields)


def resolved(occurrence: int = 1) -> ThresholdResolved:
    return ThresholdResolved(
        budget=_state(), locale=Locale(language="en", zone="UTC"), threshold=HALF, occurrence=occurrence
    )


def _told(number: int) -> Told:
    return Told(str(uuid5(SPACE, f"event {number}")), 1, crossed())


def _state() -> BudgetState:
    return BudgetState(
        budget_id=BUDGET,
        budget_name="acme",
        account=AccountRef(id="acme", kind="org", name="acme"),
        path=("platform", "acme"),
        measure="money",
        currency="USD",
        mode="hard",
        window=BudgetWindow(kind="lifetime", start=START, end=None, zone="UTC"),
        limit=2 * COST,
        limit_revision=1,
        spent=COST,
        held=0,
        remaining=COST,
        percent_spent="50.00",
        revision=2,
    )
