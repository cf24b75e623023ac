"""Beats on a real PostgreSQL: totals in, totals out; what is overdrawn counts at once; nothing new locks nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from budget.shares.operations import BATCH, CHANGES_MAX, Shares
from budget.store import Store
from farebox.postgres import session
from farebox.shares import BeatAnswer, ShareReport, ShareTotal
from support.budget_service import RELEASE_AFTER, BudgetService, held, nothing, report, total, won

COST = 6_000_000  # 7.80 won


async def test_what_is_returned_is_free_for_others(service: BudgetService) -> None:
    key = await service.ready("10")
    share = await service.opened(key, COST)
    await service.beat(report(share, returned=won("7")))
    assert await service.figures() == ("0", "0.8")


async def test_totals_that_come_late_or_twice_change_nothing(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    reports = [report(share, returned=won(amount), overdrawn=won("1")) for amount in ("1", "3", "2", "3", "1")]
    for each in reports:
        await service.beat(each)
    assert await service.figures() == ("0", "5.8")
    assert await service.broken() == set()


async def test_a_bill_above_its_reserve_lowers_what_others_get_with_the_next_beat(service: BudgetService) -> None:
    key = await service.ready("20", "gw", "other")
    share = await service.opened(key, COST)
    await service.beat(report(share, overdrawn=won("5")))
    assert await service.figures() == ("0", "12.8")
    refused = await service.raise_(key, COST, gateway="other")
    assert refused.refusal is not None


@pytest.mark.parametrize("is_posted_first", [True, False])
async def test_an_excess_counts_once_whether_it_is_posted_or_told_first(
    service: BudgetService, is_posted_first: bool
) -> None:
    key = await service.ready("20")
    share = await service.opened(key, COST)
    beat = service.beat(report(share, overdrawn=won("5")))
    post = service.post(service.priced(key, won("12.8"), held(share, settled=won("12.8"))))
    for told in (post, beat) if is_posted_first else (beat, post):
        await told
    assert await service.figures() == ("12.8", "0")
    assert await service.broken() == set()


async def test_an_excess_beyond_the_limit_is_a_state_and_refuses_others(service: BudgetService) -> None:
    key = await service.ready("10", "gw", "other")
    share = await service.opened(key, COST)
    await service.beat(report(share, overdrawn=won("50")))
    assert await service.figures() == ("0", "57.8")
    assert (await service.raise_(key, 1, gateway="other")).refusal is not None
    assert await service.broken() == set()


async def test_a_beat_answers_what_is_granted(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    (raised,) = (await service.raise_(key, windows=[total(share, won("20"))])).shares
    assert (await service.beat(report(share))).shares == (raised,)


async def test_a_share_the_database_forgot_is_made_again_by_a_beat(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.pool.execute("DELETE FROM budget_share")
    await service.pool.execute("UPDATE budget_window SET escrowed = 0")
    assert (await service.beat(report(share, returned=won("1")))).shares == (share,)
    assert await service.figures() == ("0", "6.8")
    assert await service.broken() == set()


async def test_a_window_the_database_forgot_is_made_again_by_a_beat(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    await service.pool.execute("DELETE FROM budget_share")
    await service.pool.execute("DELETE FROM budget_window")
    await service.beat(report(share))
    assert await service.figures() == ("0", "7.8")


async def test_a_raise_the_database_forgot_is_told_by_the_gateway(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    later = share.model_copy(update={"granted": won("30")})
    assert (await service.beat(report(later))).shares == (later,)
    assert await service.figures() == ("0", "30")


async def test_reports_of_budgets_nobody_knows_are_left_alone(service: BudgetService) -> None:
    await service.ready("100")
    stranger = ShareReport(budget_id=uuid4(), window_start=datetime(2026, 3, 1, tzinfo=UTC), granted=5)
    assert (await service.beat(stranger)).shares == ()


async def shares_of_many(service: BudgetService, count: int) -> Sequence[ShareTotal]:
    """One gateway's shares of so many budgets of one user."""
    key = await service.ready("100")
    for number in range(count - 1):
        await service.budget("100", account="minh", name=f"{number}")
    return (await service.raise_(key, COST)).shares


class CountingStore(Store):
    """Counts the windows that are locked, by transaction."""

    def __init__(self, pool: Any) -> None:
        super().__init__(pool)
        self.locked: list[int] = []

    def transaction(self) -> Any:
        return _Counted(super().transaction(), self.locked)


class _Counted:
    def __init__(self, inner: Any, locked: list[int]) -> None:
        self._inner, self._locked = inner, locked

    async def __aenter__(self) -> Any:
        unit = await self._inner.__aenter__()
        lock = unit.books.lock

        async def counted(keys: Any) -> Any:
            self._locked.append(len(keys))
            return await lock(keys)

        unit.books.lock = counted
        return unit

    async def __aexit__(self, *error: object) -> Any:
        return await self._inner.__aexit__(*error)


async def counted(service: BudgetService, reports: Sequence[ShareReport]) -> tuple[list[int], BeatAnswer]:
    """How many windows each transaction of a beat locks."""
    store = CountingStore(service.pool)
    service.shares = Shares(store, service.clock, nothing, release_after_s=RELEASE_AFTER.total_seconds())
    answer = await service.beat(*reports)
    return store.locked, answer


async def test_a_beat_locks_at_most_a_hundred_windows_at_a_time(service: BudgetService) -> None:
    shares = await shares_of_many(service, 230)
    locked, answer = await counted(service, [report(share, returned=1) for share in shares])
    assert locked == [BATCH, BATCH, 30]
    assert len(answer.shares) == 230
    assert await service.broken() == set()


async def test_a_beat_with_nothing_new_locks_no_window(service: BudgetService) -> None:
    shares = await shares_of_many(service, 3)
    never_granted = ShareReport(budget_id=shares[0].budget_id, window_start=shares[0].window_start, granted=0)
    locked, answer = await counted(service, [*map(report, shares), never_granted])
    assert locked == []
    assert len(answer.shares) == 4


async def test_a_beat_with_nothing_new_does_not_wait_for_a_locked_window(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, COST)
    async with session(service.pool) as other, other.transaction():
        await other.execute("SELECT FROM budget_window FOR UPDATE")
        assert (await service.beat(report(share))).shares == (share,)


async def test_a_share_never_granted_is_no_news(service: BudgetService) -> None:
    await service.ready("100")
    budget = (await service.balance())["budget_id"]
    empty = ShareReport(budget_id=budget, window_start=datetime(2026, 3, 2, tzinfo=UTC), granted=0)
    locked, _ = await counted(service, [empty])
    assert locked == []


async def test_what_is_asked_back_is_told_though_others_hold_a_lock_on_it(service: BudgetService) -> None:
    key = await service.ready("10", "first", "second")
    idle = await service.opened(key, COST, gateway="first")
    await service.raise_(key, COST, gateway="second")
    async with session(service.pool) as other, other.transaction():
        await other.execute("SELECT FROM budget_share FOR UPDATE")
        assert await service.recalled("first") == []
    assert await service.recalled("first") == [idle.budget_id]


async def test_a_changed_policy_is_told_with_the_next_beat_and_once(service: BudgetService) -> None:
    await service.ready("100")
    known = (await service.beat()).policy_revision
    await service.admin.patch("/api/accounts/core", json={"language": "vi"})
    first = await service.beat(policy_revision=known)
    assert (first.policy_revision, first.changed) == (known + 1, ("core",))
    assert (await service.beat(policy_revision=known + 1)).changed == ()


async def test_who_missed_too_many_changes_is_to_forget_every_policy(service: BudgetService) -> None:
    await service.ready("100")
    known = (await service.beat()).policy_revision
    await service.pool.execute(
        "INSERT INTO policy_change SELECT $1 + n, 'core' FROM generate_series(1, $2) n", known, CHANGES_MAX + 1
    )
    answer = await service.beat(policy_revision=known)
    assert (answer.policy_revision, answer.changed) == (known + CHANGES_MAX + 1, None)


async def test_who_missed_changes_that_are_forgotten_is_to_forget_every_policy(service: BudgetService) -> None:
    await service.ready("100")
    await service.admin.patch("/api/accounts/core", json={"language": "vi"})
    await service.pool.execute("UPDATE policy_change SET changed_at = '2020-01-01'")
    await service.shares.forget()
    assert (await service.beat(policy_revision=0)).changed is None
