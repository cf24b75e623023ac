import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import cycle, islice

import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from farebox.ids import new_id
from notifier.app import SCHEDULES, database
from notifier.delivery import DeliveryResult, State, Step, Verdict
from notifier.store import Store
from support.alerts import crossed
from support.eventually import eventually
from support.notifying import Notifying, notifier_settings, open_notifying, put_down
from support.receivers import Hook, Inbox, webhook_endpoint


async def ended(notifying: Notifying, state: State = State.DELIVERED) -> dict[str, object]:
    """The newest delivery, once it has come to this end."""

    async def reached() -> dict[str, object]:
        delivery = await notifying.delivery()
        assert delivery["state"] == state
        return delivery

    return await eventually(reached)


def verdicts(delivery: dict[str, object]) -> list[object]:
    log = delivery["log"]
    assert isinstance(log, list)
    return [attempt["verdict"] for attempt in log]


async def test_failures_are_tried_again_with_the_same_id_until_accepted(notifying: Notifying, hook: Hook) -> None:
    hook.answers.extend([500, 404, 301])
    await notifying.webhook(hook.url)
    event_id = await notifying.tell(crossed())
    delivery = await ended(notifying)
    assert verdicts(delivery) == ["retry", "retry", "retry", "accepted"]
    assert hook.ids() == [str(event_id)] * 4
    assert len(set(hook.bodies)) == 1


async def test_after_ten_attempts_the_delivery_has_failed(notifying: Notifying, hook: Hook) -> None:
    hook.then = 500
    await notifying.webhook(hook.url)
    await notifying.tell(crossed())
    delivery = await ended(notifying, State.FAILED)
    assert (delivery["attempts"], len(hook.bodies), delivery["last_error"]) == (10, 10, "status_500")


@pytest.mark.parametrize(("retry_after", "wait_s"), [(None, 5), ("3600", 3600)])
async def test_the_next_attempt_waits_for_schedule_and_retry_after(
    retry_after: str | None, wait_s: int, dsn: str, inbox: Inbox, hook: Hook
) -> None:
    hook.answers.append(Response(status_code=503, headers={"retry-after": retry_after} if retry_after else None))
    async with open_notifying(notifier_settings(dsn, inbox.port), schedules=SCHEDULES) as notifying:
        await notifying.webhook(hook.url)
        await notifying.tell(crossed())
        await eventually(lambda: len(hook.bodies) == 1)
        delivery = await eventually(lambda: tried_once(notifying))
    waits = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(delivery["created_at"])
    assert timedelta(seconds=wait_s) <= waits
    assert delivery["state"] == "pending"


async def tried_once(notifying: Notifying) -> dict[str, str]:
    delivery = await notifying.delivery()
    assert delivery["last_status"] == 503
    return delivery


async def test_410_disables_the_channel_and_what_is_due_waits_until_it_is_enabled(
    notifying: Notifying, hook: Hook
) -> None:
    hook.hanging = True
    hook.answers.append(410)
    channel = await notifying.webhook(hook.url)
    await notifying.tell(crossed())
    await eventually(lambda: hook.at_once == 1)
    hook.hanging = False
    hook.release.set()
    await ended(notifying, State.FAILED)
    [stored] = await notifying.items("/api/channels")
    assert (stored["state"], stored["disabled_reason"]) == ("disabled", "the receiver answered 410 Gone")
    await notifying.tell(crossed())
    assert len(await notifying.items("/api/deliveries")) == 1
    await notifying.admin.patch(f"/api/channels/{channel['channel_id']}", json={"active": True})
    await notifying.tell(crossed())
    await ended(notifying)


async def test_an_event_seen_twice_by_two_replicas_is_delivered_once_a_channel(
    dsn: str, inbox: Inbox, hook: Hook
) -> None:
    settings = notifier_settings(dsn, inbox.port)
    async with open_notifying(settings) as one, open_notifying(settings) as other:
        await one.webhook(hook.url)
        await one.mail_channel()
        events = [new_id() for _ in range(20)]
        told = islice(cycle([one, other]), 4 * len(events))
        await asyncio.gather(*(replica.tell(crossed(), event) for event, replica in zip(events * 4, told, strict=True)))
        await eventually(lambda: len(hook.bodies) >= 20 and len(inbox.mails) >= 20)
        states = {delivery["state"] for delivery in await eventually(lambda: none_pending(one))}
    assert sorted(hook.ids()) == sorted(map(str, events))
    assert len({mail["Message-ID"] for mail in inbox.mails}) == len(inbox.mails) == 20
    assert states == {"delivered"}


async def none_pending(notifying: Notifying) -> list[dict[str, object]]:
    deliveries = await notifying.items("/api/deliveries")
    assert not any(delivery["state"] == "pending" for delivery in deliveries)
    return deliveries


async def test_a_hanging_endpoint_holds_up_nobody_else(notifying: Notifying, hook: Hook) -> None:
    async with webhook_endpoint() as slow:
        slow.hanging = True
        await notifying.webhook(slow.url)
        await notifying.webhook(hook.url)
        for _ in range(20):
            await notifying.tell(crossed())
        await eventually(lambda: len(hook.bodies) == 20)
        assert slow.at_once_max <= 4


async def test_a_hanging_endpoint_is_a_timeout(dsn: str, inbox: Inbox, hook: Hook) -> None:
    hook.hanging = True
    settings = notifier_settings(dsn, inbox.port, delivery_timeout_s=0.2)
    async with open_notifying(settings, schedules=SCHEDULES) as notifying:
        await notifying.webhook(hook.url)
        await notifying.tell(crossed())
        await eventually(lambda: timed_out(notifying))


async def timed_out(notifying: Notifying) -> bool:
    return bool((await notifying.delivery())["last_error"] == "timeout")


async def test_an_endless_answer_is_not_read(notifying: Notifying, hook: Hook) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)  # the sender shares this loop

    hook.answers.append(StreamingResponse(endless()))
    await notifying.webhook(hook.url)
    await notifying.tell(crossed())
    assert verdicts(await ended(notifying)) == ["accepted"]


async def test_a_redirect_is_not_followed(notifying: Notifying, hook: Hook) -> None:
    async with webhook_endpoint() as inside:
        hook.answers.append(RedirectResponse(inside.url, status_code=307))
        await notifying.webhook(hook.url)
        await notifying.tell(crossed())
        assert verdicts(await ended(notifying)) == ["retry", "accepted"]
        assert inside.bodies == []


async def test_an_address_is_judged_at_every_attempt(dsn: str, inbox: Inbox, hook: Hook) -> None:
    lenient = notifier_settings(dsn, inbox.port)
    async with open_notifying(lenient) as notifying:
        await notifying.webhook(hook.url)
    strict = notifier_settings(dsn, inbox.port, webhook_allowed_networks="")
    async with open_notifying(strict) as notifying:
        await notifying.tell(crossed())
        delivery = await ended(notifying, State.FAILED)
    assert (delivery["last_error"], hook.bodies) == ("address_refused", [])


LEASE = timedelta(seconds=20)
OVER_AT_ONCE = timedelta(0)


@asynccontextmanager
async def claiming(dsn: str, inbox: Inbox, hook: Hook) -> AsyncIterator[Store]:
    """A store with one due delivery that no worker is after."""
    settings = notifier_settings(dsn, inbox.port)
    async with open_notifying(settings) as notifying:
        await notifying.webhook(hook.url)
    await put_down(settings, crossed())
    async with database(settings) as pool:
        yield Store(pool)


async def test_a_claim_is_one_replicas_alone(dsn: str, inbox: Inbox, hook: Hook) -> None:
    async with claiming(dsn, inbox, hook) as store:
        claims = [store.claim(busy={}, per_channel=4, limit=10, lease=LEASE, instance=f"r{n}") for n in range(8)]
        assert sorted(len(jobs) for jobs in await asyncio.gather(*claims)) == [0] * 7 + [1]


async def test_what_a_killed_replica_had_claimed_is_taken_over_and_the_late_result_is_fenced(
    dsn: str, inbox: Inbox, hook: Hook
) -> None:
    async with claiming(dsn, inbox, hook) as store:
        [lost] = await store.claim(busy={}, per_channel=4, limit=10, lease=OVER_AT_ONCE, instance="killed")
        [taken] = await store.claim(busy={}, per_channel=4, limit=10, lease=LEASE, instance="other")
        assert (taken.delivery_id, taken.number) == (lost.delivery_id, 2)
        assert not await store.finish(lost, DeliveryResult(Verdict.RETRY, 500), Step(State.FAILED), 1)
        assert await store.finish(taken, DeliveryResult(Verdict.ACCEPTED, 204), Step(State.DELIVERED), 1)


async def test_a_channel_with_its_slots_taken_is_not_claimed_for(dsn: str, inbox: Inbox, hook: Hook) -> None:
    async with claiming(dsn, inbox, hook) as store:
        [channel] = await store.channels(None, None, 1)
        busy = {channel.channel_id: 4}
        assert await store.claim(busy=busy, per_channel=4, limit=10, lease=LEASE, instance="r") == []
