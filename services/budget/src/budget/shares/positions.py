"""Windows and shares from the books into memory, locked, and back."""

from collections.abc import Collection, Mapping
from datetime import datetime

from budget.alerts.operations import all_reached, announce_reached, announce_resolved, balances
from budget.budgets.rules import Window
from budget.shares.rules import Positions, ShareKey, WindowKey
from budget.unit import Unit


async def located(unit: Unit, keys: Collection[ShareKey]) -> tuple[Positions, dict[WindowKey, Window]]:
    """Lock the windows of these shares, all in one order, and lay the shares beside them."""
    windows = await unit.books.lock({key.window for key in keys})
    shares = await unit.books.shares_named(keys) if windows else []
    rooms = {key: window.room for key, window in windows.items()}
    return Positions(rooms, {share.key: share for share in shares}), windows


async def settled(
    unit: Unit, positions: Positions, windows: Mapping[WindowKey, Window], now: datetime
) -> Mapping[WindowKey, Window]:
    """Write positions back, and tell of windows whose spending they moved: suspense is spending too.

    The windows as they are then.
    """
    after = {
        key: windows[key] if room == windows[key].room else windows[key].with_room(room)
        for key, room in positions.rooms.items()
    }
    changed = {key: window for key, window in after.items() if window is not windows[key]}
    await unit.books.save(changed, [positions.shares[key] for key in positions.touched], now)
    moved = {key: window for key, window in after.items() if window.room.spent != windows[key].room.spent}
    if moved:
        budgets = await unit.registry.budgets_named({budget_id for budget_id, _ in moved})
        told = [(budgets[key[0]], window) for key, window in moved.items()]
        for budget, window in told:
            await announce_resolved(unit, budget, window, now)
            await announce_reached(unit, all_reached(budget, window), moved, now)
        await unit.announce(balances(told, now))
    return after
