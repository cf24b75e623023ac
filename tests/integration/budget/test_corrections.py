"""A corrected entry posts where its charge did, takes nothing from a share, and ends what was uncertain."""

from datetime import timedelta
from typing import Any

import pytest

from farebox.events import Measured, UsagePriced
from farebox.ids import new_id
from support.budget_service import BudgetService, held, report, won

COST = 6_000_000  # 7.80 won
MARKS = [{"severity": "info", "percent": "50"}, {"severity": "critical", "percent": "90"}]


async def charged(service: BudgetService, key: dict[str, Any], won_: str, uncertain: str = "0") -> UsagePriced:
    """A call that held 7.8 won and is charged so many."""
    share = await service.opened(key, COST)
    use = held(share, settled=won(won_) + won(uncertain), uncertain=won(uncertain))
    return service.priced(key, won(won_), use)


def correction(
    service: BudgetService, key: dict[str, Any], charge: UsagePriced, won_: int, **fields: Any
) -> UsagePriced:
    """As metering tells it: differences, and the windows of the charge with nothing settled."""
    use = charge.held and charge.held.model_copy(update={"settled": Measured(), "uncertain": Measured()})
    values: dict[str, Any] = {"kind": "correction", "attempt_id": charge.attempt_id, "corrects": charge.entry_id}
    values |= {"held": use, "occurred_at": charge.occurred_at, "requests": 0, "tokens": 0}
    return service.priced(key, won_ * 10**9, **values | fields)


async def preview(service: BudgetService, *events: UsagePriced) -> dict[str, Any]:
    body = {"events": [event.model_dump(mode="json") for event in events]}
    answer = await service.admin.post("/api/budgets/preview", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def kinds(service: BudgetService) -> list[str]:
    return [kind.removeprefix("farebox.budget.").removesuffix(".v1") for kind, _ in await service.told()]


async def test_a_correction_takes_nothing_from_a_share_a_second_time(service: BudgetService) -> None:
    key = await service.ready("100")
    charge = await charged(service, key, "5")
    share = await service.opened(key, COST)
    await service.post(charge, correction(service, key, charge, -2))
    await service.beat(report(share, returned=share.granted - won("5")))
    assert await service.figures() == ("3", "0")
    assert await service.broken() == set()


async def test_a_correction_downwards_resolves_and_one_upwards_crosses_again(service: BudgetService) -> None:
    key = await service.ready("10", thresholds=MARKS)
    charge = await charged(service, key, "6")
    await service.post(charge)
    await service.post(correction(service, key, charge, -4))
    await service.post(correction(service, key, charge, 7))
    assert await kinds(service) == [
        "threshold_crossed",
        "threshold_resolved",
        "threshold_crossed",
        "threshold_crossed",
    ]
    assert (await service.balance())["spent"] == "9"
    assert await service.broken() == set()


async def test_a_correction_above_the_limit_is_posted_and_told(service: BudgetService) -> None:
    key = await service.ready("10")
    charge = await charged(service, key, "6")
    await service.post(charge, correction(service, key, charge, 7))
    assert (await service.balance())["spent"] == "13"
    assert "over_limit" in await kinds(service)
    assert await service.broken() == set()


@pytest.mark.parametrize("won_", [-1, 0, 3])
async def test_a_correction_before_its_charge_leaves_nothing_uncertain(service: BudgetService, won_: int) -> None:
    key = await service.ready("10")
    charge = await charged(service, key, "2", uncertain="5.8")
    await service.post(correction(service, key, charge, won_))
    await service.post(charge)
    balance = await service.balance()
    assert (balance["spent"], balance["held"], balance["uncertain"]) == (str(2 + won_), "0", "0")
    assert (await service.admin.get("/api/uncertain")).json()["items"] == []
    assert await service.broken() == set()


async def test_a_correction_of_last_months_call_posts_to_last_month(service: BudgetService) -> None:
    key = await service.ready("10", window={"kind": "month"})
    charge = await charged(service, key, "6")
    await service.post(charge)
    service.clock.move(timedelta(days=31))
    await service.post(correction(service, key, charge, -2))
    (row,) = await service.pool.fetch("SELECT posted FROM budget_window")
    assert row["posted"] == won("4")
    assert (await service.balance())["spent"] == "0"


async def test_requests_and_tokens_are_corrected_too(service: BudgetService) -> None:
    await service.org()
    await service.budget("1000", measure="tokens", mode="soft")
    key = await service.key()
    charge = service.priced(key, won("2"))
    await service.post(charge, correction(service, key, charge, 0, tokens=-40))
    assert (await service.balance())["spent"] == "60"


async def test_a_preview_shows_the_balances_and_alerts_that_posting_then_brings(service: BudgetService) -> None:
    key = await service.ready("10", thresholds=MARKS)
    charge = await charged(service, key, "2", uncertain="5.8")
    await service.post(charge)
    wrong = correction(service, key, charge, 5)
    shown = await preview(service, wrong)
    (balance,) = shown["balances"]
    assert (balance["before"]["spent"], balance["before"]["uncertain"]) == ("2", "5.8")
    assert [(each["severity"], each["spent"]) for each in shown["alerts"]] == [("info", "7")]
    assert await kinds(service) == []
    await service.post(wrong)
    now = await service.balance()
    assert {name: now[name] for name in ("spent", "held", "uncertain", "remaining", "revision")} == {
        name: balance["after"][name] for name in ("spent", "held", "uncertain", "remaining", "revision")
    }
    assert len(await kinds(service)) == 1


async def test_a_preview_changes_nothing(service: BudgetService) -> None:
    key = await service.ready("10", thresholds=MARKS)
    charge = await charged(service, key, "6")
    shown = await preview(service, charge)
    assert shown["balances"][0]["after"]["spent"] == "6"
    assert await service.figures() == ("0", "7.8")
    assert await service.pool.fetch("SELECT FROM posting") == await service.pool.fetch("SELECT FROM crossing") == []
    assert await kinds(service) == []


async def test_what_is_posted_already_changes_nothing_in_a_preview(service: BudgetService) -> None:
    key = await service.ready("10")
    charge = await charged(service, key, "6")
    await service.post(charge)
    assert await preview(service, charge) == {"balances": [], "alerts": [], "left_out": []}


async def test_a_preview_names_the_budgets_that_count_in_another_currency(service: BudgetService) -> None:
    key = await service.ready("10")
    charge = await charged(service, key, "6")
    await service.post(charge)
    shown = await preview(service, correction(service, key, charge, -2, currency="USD"))
    assert (shown["balances"], [each["currency"] for each in shown["left_out"]]) == ([], ["KRW"])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [{"entry_id": "x"}]}, "events.0.entry_id"),
        ({"entries": []}, "entries"),
    ],
)
async def test_a_preview_of_what_is_no_entry_is_refused_by_its_field(
    service: BudgetService, body: dict[str, Any], named: str
) -> None:
    answer = await service.admin.post("/api/budgets/preview", json=body)
    assert answer.status_code == 422
    assert named in {problem.partition(":")[0] for problem in answer.json()["error"]["problems"]}


async def test_an_attempt_that_nobody_charged_is_not_uncertain_for_its_correction(service: BudgetService) -> None:
    key = await service.ready("10")
    stray = service.priced(key, won("1"), kind="correction", attempt_id=new_id())
    await service.post(stray, stray)
    assert (await service.balance())["spent"] == "1"
    assert await service.broken() == set()
