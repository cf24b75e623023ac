"""The notifier's tables: channels, alerts, deliveries and the log of attempts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from farebox.events import Envelope
from farebox.ids import new_id
from farebox.postgres import Connection, Pool, Queries, is_about_data, session, transaction
from notifier.alert import Alert
from notifier.channel import Channel, ChannelState, Kind
from notifier.delivery import DeliveryResult, Job, Step
from notifier.errors import Unstorable
from notifier.routing import channels_for

QUERIES = Queries.load("notifier")

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel to be stored; `sealed` is its webhook secret."""

    account: str
    kind: Kind
    name: str
    recipients: tuple[str, ...] = ()
    url: str | None = None
    event_types: tuple[str, ...] | None = None
    sealed: bytes | None = None


class Store:
    """Every statement of the service. Raises farebox.errors.Transient while PostgreSQL is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    # Alerts

    async def take_up(self, envelope: Envelope, alert: Alert, raw: str) -> bool:
        """Write an alert and its deliveries, once for ever; False when that had been done before. Raises Unstorable."""
        try:
            async with transaction(self._pool) as connection:
                if not await _insert_alert(connection, envelope, alert, raw, alert.type):
                    return False
                rows = await connection.fetch(QUERIES["channels_on_path"], list(alert.budget.path))
                wanted = channels_for(alert, [channel_of(dict(row)) for row in rows])
                await _insert_deliveries(connection, envelope.id, [channel.channel_id for channel in wanted])
        except Exception as error:
            if not is_about_data(error):
                raise
            raise Unstorable(f"{type(error).__name__}: {error}") from error
        return True

    async def take_up_test(self, envelope: Envelope, alert: Alert, raw: str, type_: str, channel_id: UUID) -> UUID:
        """Write a test alert for one channel; returns its delivery's id."""
        async with transaction(self._pool) as connection:
            await _insert_alert(connection, envelope, alert, raw, type_)
            [delivery_id] = await _insert_deliveries(connection, envelope.id, [channel_id])
        return delivery_id

    async def alerts(self, account: str | None, before: UUID | None, limit: int) -> list[Row]:
        """The history, newest first; `deliveries` is a JSON text."""
        return await self._fetch("alerts", account, before, limit)

    async def acknowledge(self, event_id: UUID, by: str | None, note: str | None) -> Row | None:
        return await self._fetchrow("alert_acknowledge", event_id, by, note)

    # Channels

    async def add_channel(self, new: NewChannel) -> Channel:
        [row] = await self._fetch(
            "channel_insert",
            new_id(),
            new.account,
            new.kind.value,
            new.name,
            list(new.recipients),
            new.url,
            _list(new.event_types),
            new.sealed,
        )
        return channel_of(row)

    async def channel(self, channel_id: UUID) -> Channel | None:
        row = await self._fetchrow("channel", channel_id)
        return channel_of(row) if row else None

    async def channels(self, account: str | None, before: UUID | None, limit: int) -> list[Channel]:
        return [channel_of(row) for row in await self._fetch("channels", account, before, limit)]

    async def change_channel(self, channel: Channel) -> Channel | None:
        """Store what may change of a channel; null when it has been deleted meanwhile."""
        async with transaction(self._pool) as connection:
            if not await connection.fetchrow(QUERIES["channel_for_update"], channel.channel_id):
                return None
            row = await connection.fetchrow(
                QUERIES["channel_update"],
                channel.channel_id,
                channel.name,
                list(channel.recipients),
                channel.url,
                _list(channel.event_types),
                channel.state.value,
                channel.disabled_reason,
            )
        return channel_of(dict(row)) if row else None

    async def rotate_secret(self, channel_id: UUID, sealed: bytes, overlap: timedelta) -> Channel | None:
        row = await self._fetchrow("channel_rotate", channel_id, sealed, overlap)
        return channel_of(row) if row else None

    async def delete_channel(self, channel_id: UUID) -> bool:
        """Delete a channel and cancel what is due on it."""
        return await self._fetchrow("channel_delete", channel_id) is not None

    # Deliveries

    async def claim(
        self, *, busy: Mapping[UUID, int], per_channel: int, limit: int, lease: timedelta, instance: str
    ) -> list[Job]:
        """Due deliveries, this process's alone for the lease. `busy` is what it has in flight, by channel."""
        rows = await self._fetch(
            "deliveries_claim", list(busy), list(busy.values()), per_channel, limit, instance, lease
        )
        return [_job(row) for row in rows]

    async def finish(self, job: Job, outcome: DeliveryResult, step: Step, duration_ms: int) -> bool:
        """Log the attempt and move the delivery; False when the claim was lost, and the delivery stays as it is."""
        delay = None if step.delay_s is None else timedelta(seconds=step.delay_s)
        async with transaction(self._pool) as connection:
            await connection.execute(
                QUERIES["attempt_finish"],
                job.delivery_id,
                job.number,
                duration_ms,
                outcome.verdict.value,
                outcome.status,
                outcome.error,
            )
            if step.disables_channel:
                await connection.execute(QUERIES["channel_disable"], job.channel_id, "the receiver answered 410 Gone")
            row = await connection.fetchrow(
                QUERIES["delivery_finish"],
                job.delivery_id,
                job.number,
                step.state.value,
                delay,
                list(outcome.accepted),
                outcome.status,
                outcome.error,
            )
        return row is not None

    async def deliveries(
        self, channel_id: UUID | None, state: str | None, before: UUID | None, limit: int
    ) -> list[Row]:
        return await self._fetch("deliveries", channel_id, state, before, limit)

    async def delivery(self, delivery_id: UUID) -> tuple[Row, list[Row]] | None:
        """A delivery and the log of its attempts."""
        row = await self._fetchrow("delivery", delivery_id)
        return (row, await self._fetch("attempts", delivery_id)) if row else None

    async def backlog(self) -> Mapping[Kind, tuple[int, float]]:
        """By kind: how many deliveries are due, and for how many seconds the oldest has been."""
        return {Kind(row["kind"]): (row["due"], row["oldest_s"]) for row in await self._fetch("backlog")}

    async def _fetch(self, query: str, *arguments: object) -> list[Row]:
        async with session(self._pool) as connection:
            return [dict(row) for row in await connection.fetch(QUERIES[query], *arguments)]

    async def _fetchrow(self, query: str, *arguments: object) -> Row | None:
        return next(iter(await self._fetch(query, *arguments)), None)


async def _insert_alert(connection: Connection, envelope: Envelope, alert: Alert, raw: str, type_: str) -> bool:
    budget = alert.budget
    values = (budget.account.id, list(budget.path), alert.notify_people, raw)
    row = await connection.fetchrow(QUERIES["alert_insert"], envelope.id, type_, envelope.time, *values)
    return row is not None


async def _insert_deliveries(connection: Connection, event_id: UUID, channels: Sequence[UUID]) -> list[UUID]:
    ids = [new_id() for _ in channels]
    await connection.execute(QUERIES["deliveries_insert"], event_id, ids, list(channels))
    return ids


def channel_of(row: Row) -> Channel:
    """A row of `channel`, without its secrets."""
    types: list[str] | None = row["event_types"]
    created_at: datetime = row["created_at"]
    return Channel(
        channel_id=row["channel_id"],
        account=row["account"],
        kind=Kind(row["kind"]),
        name=row["name"],
        state=ChannelState(row["state"]),
        disabled_reason=row["disabled_reason"],
        recipients=tuple(row["recipients"]),
        url=row["url"],
        event_types=None if types is None else tuple(types),
        created_at=created_at,
        updated_at=row["updated_at"],
    )


def _job(row: Row) -> Job:
    sealed = (row["secret_sealed"], row["previous_secret_sealed"])
    return Job(
        delivery_id=row["delivery_id"],
        event_id=row["event_id"],
        channel_id=row["channel_id"],
        kind=Kind(row["kind"]),
        number=row["attempts"],
        type=row["type"],
        occurred_at=row["occurred_at"],
        event=row["event"],
        recipients=tuple(row["recipients"]),
        accepted=tuple(row["accepted"]),
        url=row["url"],
        sealed_secrets=tuple(secret for secret in sealed if secret is not None),
    )


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
