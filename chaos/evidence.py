"""Everything that is left behind by a run, read once all is quiet: the world's own notes, and the system's books."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx

from chaos.schedule import CONSUMED
from chaos.topics import Kafka
from farebox.events import BalanceChanged, BudgetEvent, PriceListed, Undecodable, UsagePriced, decode
from farebox_local.stack import Stack

_MESSAGE_ID: Final = re.compile(r"<([0-9a-f-]{36})@")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """An event on `budget.events`, as often as it is there."""

    id: str
    times: int
    event: BudgetEvent


@dataclass(frozen=True, slots=True)
class Evidence:
    """The world: `bill`, `mails` (ids of deliveries), `hooks` (per webhook its ids and whether they were signed).

    The books: everything else.
    """

    bill: Sequence[dict[str, Any]]
    mails: Sequence[str]
    hooks: Mapping[str, Sequence[tuple[str, bool]]]
    ledger: Sequence[Row]
    suspense: set[UUID]
    priced: Mapping[UUID, UsagePriced]
    windows: Sequence[Row]
    held: Sequence[Row]
    held_in: Mapping[UUID, Mapping[str, datetime]]
    """By ledger entry: the budgets that held its call (ids), and when the window of each began."""
    crossings: Sequence[Row]
    events: Sequence[Told]
    balances: Sequence[BalanceChanged]
    """In the order of the topic, as far as one budget is concerned."""
    catalogue: Mapping[str, PriceListed]
    """The newest record of each model whose price was changed."""
    deliveries: Sequence[Row]
    dead: Mapping[str, set[bytes]]
    audit: str
    """What the system's own programs find wrong with its books."""

    @property
    def holds_uncertain(self) -> bool:
        """Whether windows hold what was not reported; then an estimate may be below the bill."""
        return any("uncertain" in row for row in self.windows)

    def source(self, row: Row) -> str:
        """Where a ledger entry's usage comes from, as its announcement says."""
        event = self.priced.get(row["entry_id"])
        return event.usage_source if event else "unknown"


_LEDGER: Final = "SELECT entry_id, kind, attempt_id, amount_nano, cost_nano_usd FROM metering.ledger"
_SUSPENSE: Final = "SELECT attempt_id FROM metering.suspense WHERE settled_at IS NULL"
_WINDOWS: Final = "SELECT * FROM budget.budget_window"
_HELD: Final = """
SELECT s.gateway_id, s.epoch, s.suspended_at, s.budget_id, s.granted + s.overdrawn - s.returned - s.posted AS held,
       format('share of %s, epoch %s of %s, window from %s: granted %s, overdrawn %s, returned %s, posted %s',
              s.gateway_id, s.epoch, g.epoch, s.window_start, s.granted, s.overdrawn, s.returned, s.posted) AS story
FROM budget.budget_share s JOIN budget.gateway g USING (gateway_id)
WHERE s.granted + s.overdrawn > s.returned + s.posted
"""
_CROSSINGS: Final = "SELECT * FROM budget.crossing"
_DELIVERIES: Final = """
SELECT d.delivery_id, d.event_id, d.state, c.account, c.kind, c.url
FROM notifier.delivery d JOIN notifier.channel c USING (channel_id)
"""


async def gathered(stack: Stack, kafka: Kafka) -> Evidence:
    """Read everything. The stack must be up."""
    around = stack.around
    events = _events(await kafka.read("budget.events"))
    balances = [e for _, e in _decoded(await kafka.read("budget.balances")) if isinstance(e, BalanceChanged)]
    listed = [e for _, e in _decoded(await kafka.read("price.catalogue")) if isinstance(e, PriceListed)]
    catalogue = {event.model: event for event in listed}
    priced = {
        e.entry_id: e
        for _, e in _decoded(await kafka.read("usage.priced"))
        if isinstance(e, UsagePriced) and e.suspense is None
    }
    dead = {topic: {record.key or b"" for record in await kafka.read(f"{topic}.dead")} for topic in CONSUMED}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        received = (await client.get(f"{around.url('webhooks')}/")).json()["items"]
    hooks: dict[str, list[tuple[str, bool]]] = {}
    for item in received:
        hooks.setdefault(item["hook"], []).append((item["headers"].get("webhook-id", ""), item["verified"]))
    connection = await asyncpg.connect(around.postgres.dsn("farebox"))
    try:
        return Evidence(
            bill=_bill(stack),
            mails=_mails(stack),
            hooks=hooks,
            ledger=await _rows(connection, _LEDGER),
            suspense={row["attempt_id"] for row in await _rows(connection, _SUSPENSE)},
            priced=priced,
            windows=await _rows(connection, _WINDOWS),
            held=await _rows(connection, _HELD),
            held_in=_held_in(priced),
            crossings=await _rows(connection, _CROSSINGS),
            events=events,
            balances=balances,
            catalogue=catalogue,
            deliveries=await _rows(connection, _DELIVERIES),
            dead=dead,
            audit=await asyncio.to_thread(stack.audit),
        )
    finally:
        await connection.close()


def _held_in(priced: Mapping[UUID, UsagePriced]) -> dict[UUID, dict[str, datetime]]:
    return {
        entry_id: {str(window.budget_id): window.start for window in event.held.windows}
        for entry_id, event in priced.items()
        if event.held is not None and event.held.windows
    }


async def _rows(connection: "asyncpg.Connection[asyncpg.Record]", sql: str) -> list[Row]:
    return [dict(row) for row in await connection.fetch(sql)]


def _bill(stack: Stack) -> list[dict[str, Any]]:
    path = stack.folder / "provider" / "bill.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _mails(stack: Stack) -> list[str]:
    found = []
    for path in sorted((stack.folder / "mail").glob("*.eml")):
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        match = _MESSAGE_ID.search(str(mail["Message-ID"]))
        found.append(match[1] if match else "")
    return found


def _decoded(records: Sequence[Any]) -> list[tuple[str, Any]]:
    """Events with their ids; what is no event is poison of ours."""
    found = []
    for record in records:
        try:
            envelope = decode(headers={name: value or b"" for name, value in record.headers}, value=record.value)
        except Undecodable:
            continue
        found.append((str(envelope.id), envelope.event))
    return found


def _events(records: Sequence[Any]) -> list[Told]:
    times: dict[str, int] = {}
    events: dict[str, BudgetEvent] = {}
    for id_, event in _decoded(records):
        if isinstance(event, BudgetEvent):
            times[id_] = times.get(id_, 0) + 1
            events[id_] = event
    return [Told(id_, times[id_], event) for id_, event in events.items()]
