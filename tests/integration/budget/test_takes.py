"""A beat's totals are taken by one statement, which moves shares and windows exactly as the rules do."""

from datetime import timedelta
from itertools import product

from budget.budgets.rules import fresh_window
from budget.shares.rules import Positions, Share, ShareKey
from budget.store import Store
from farebox.shares import ShareReport
from support.budget_service import BudgetService, report

LIMIT = "0.00000002"  # 20 nano: some of what is out is over it
SHARES = list(product((0, 9), (0, 4), (0, 5), (0, 6)))[1:]
REPORTS = list(product((0, 8, 30), (0, 5), (0, 7)))


async def test_the_statement_moves_what_the_rules_move(service: BudgetService) -> None:
    await service.ready(LIMIT)
    store, now = Store(service.pool), service.clock.now()
    async with store.transaction() as unit:
        ((budget,),) = (await unit.registry.budgets_of(["acme"])).values()
        cases = [
            (budget.calendar.span(now + timedelta(days=n)), *each) for n, each in enumerate(product(SHARES, REPORTS))
        ]
        await unit.books.open({(budget.budget_id, span.start): span for span, _, _ in cases})
        ruled = Positions({(budget.budget_id, span.start): fresh_window(budget, span).room for span, _, _ in cases}, {})
        for span, totals, _ in cases:
            ruled.become(Share(ShareKey(budget.budget_id, span.start, "gw", 1), *totals))
        windows = await unit.books.lock(ruled.rooms)
        before = {key: windows[key].with_room(room) for key, room in ruled.rooms.items()}
        await unit.books.save(before, list(ruled.shares.values()), now)
        reports = [
            ShareReport(budget_id=budget.budget_id, window_start=span.start, granted=g, returned=r, overdrawn=o)
            for span, _, (g, r, o) in cases
        ]
        taken = await unit.books.take("gw", 1, reports)
        for each in reports:
            share = ruled.share(ShareKey(each.budget_id, each.window_start, "gw", 1))
            ruled.become(share.reported(granted=each.granted, returned=each.returned, overdrawn=each.overdrawn))
        after = await unit.books.lock(ruled.rooms)
        shares = await unit.books.shares_named(list(ruled.shares))
    assert taken == len(cases)
    assert {key: window.room for key, window in after.items()} == ruled.rooms
    assert {share.key: share for share in shares} == ruled.shares


async def test_of_two_reports_of_one_share_the_larger_totals_count(service: BudgetService) -> None:
    key = await service.ready("100")
    share = await service.opened(key, 6_000_000)
    told = [report(share, returned=n, overdrawn=9 - n) for n in (2, 7)]
    async with Store(service.pool).transaction() as unit:
        assert await unit.books.take("gw", 1, told) == 1
        (own,) = await unit.books.shares_of_epoch([(share.budget_id, share.window_start)], "gw", 1)
    assert own is not None
    assert (own.granted, own.returned, own.overdrawn) == (share.granted, 7, 7)
