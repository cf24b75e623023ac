"""The rows behind the compacted topics: what `farebox.compacted` compares with them, and publishes again."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import orjson

from budget.administration import announce_news
from budget.alerts.operations import balances
from budget.store import Store
from farebox.clock import Clock
from farebox.compacted import OLDEST, Order
from farebox.kafka import Record


class PolicyNews:
    """`account.policy`: one key an account, in the order of its revision."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def orders(self, after: str, limit: int) -> Sequence[tuple[str, Order]]:
        async with self._store.transaction() as unit:
            return [(account, (revision,)) for account, revision in await unit.registry.revisions(after, limit)]

    async def publish_again(self, keys: Sequence[str]) -> None:
        async with self._store.transaction() as unit:
            await announce_news(unit, keys, self._clock.now())


class Balances:
    """`budget.balances`: one key a budget, in the order of its windows and of their revisions.

    A grant gives a window a revision that nobody is told of, so that rows are always ahead of the topic: only a record
    that came after a newer one is repaired.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def orders(self, after: str, limit: int) -> Sequence[tuple[str, Order]]:  # noqa: ARG002 - of a Protocol
        return ()

    async def publish_again(self, keys: Sequence[str]) -> None:
        now = self._clock.now()
        async with self._store.transaction() as unit:
            budgets = (await unit.registry.budgets_named([*_ids(keys)])).values()
            windows = await unit.books.lock({budget.window_key(now) for budget in budgets})
            pairs = [(budget, windows[key]) for budget in budgets if (key := budget.window_key(now)) in windows]
            await unit.announce(balances(pairs, now))


def _ids(keys: Sequence[str]) -> Iterator[UUID]:
    for key in keys:
        with suppress(ValueError):  # somebody else's record
            yield UUID(key)


def by_window(record: Record) -> Order:
    """The order of a balance, without reading all of it: there are as many as postings."""
    try:
        state = orjson.loads(record.value or b"")["budget"]
        return int(datetime.fromisoformat(state["window"]["start"]).timestamp()), int(state["revision"])
    except (KeyError, TypeError, ValueError):
        return OLDEST
