"""Waiting until nothing is on its way any more."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
import httpx

from chaos.topics import Kafka
from farebox_local.stack import Stack

WITHIN_S: Final = 180.0
STEADY_S: Final = 6.0
"""Escrow that has not changed for so long, two heartbeats after the last lease went idle, stays."""
CALM_LOOKS: Final = 3
_GROUPS: Final = (
    ("metering", "request.completed"),
    ("budget", "usage.priced"),
    ("notifier", "budget.events"),
)
_WAITING: Final = """
SELECT (SELECT count(*) FROM metering.outbox) + (SELECT count(*) FROM budget.outbox) AS outbox,
       (SELECT count(*) FROM notifier.delivery WHERE state = 'pending') AS deliveries,
       (SELECT coalesce(sum(escrowed), 0) FROM budget.budget_window) AS escrowed
"""


async def quiet(stack: Stack, kafka: Kafka, gateways: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """Return once all is quiet; what still was not when the time was up."""
    deadline = time.monotonic() + WITHIN_S
    escrowed, steady_since, calm = -1, time.monotonic(), 0
    while True:
        restless, newest = await _restless(stack, kafka, gateways)
        if newest != escrowed:
            escrowed, steady_since = newest, time.monotonic()
        if newest and time.monotonic() - steady_since < 2 * STEADY_S:
            restless.append(f"{newest} in escrow")
        calm = 0 if restless else calm + 1
        if calm == CALM_LOOKS:
            return []
        if time.monotonic() > deadline:
            return restless
        if restless:
            say(f"not quiet yet: {', '.join(restless)}")
        await asyncio.sleep(1.0)


async def _restless(stack: Stack, kafka: Kafka, gateways: Sequence[str]) -> tuple[list[str], int]:
    left = {gateway: await _unpublished(stack, gateway) for gateway in gateways}
    restless = [f"{gateway}: {unpublished}" for gateway, unpublished in left.items() if unpublished]
    for group, topic in _GROUPS:
        if lag := await kafka.lag(group, topic):
            restless.append(f"{group} is {lag} records behind")
    connection = await asyncpg.connect(stack.around.postgres.dsn("farebox"))
    try:
        row = await connection.fetchrow(_WAITING)
    finally:
        await connection.close()
    assert row is not None
    if row["outbox"]:
        restless.append(f"{row['outbox']} rows in outboxes")
    if row["deliveries"]:
        restless.append(f"{row['deliveries']} deliveries pending")
    return restless, int(row["escrowed"])


async def _unpublished(stack: Stack, gateway: str) -> str:
    """What a gateway still has to do; nothing when it is done."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            text = (await client.get(f"{stack.around.url(f'{gateway}-ops')}/metrics")).text
    except httpx.HTTPError as error:
        return f"does not answer ({error!r})"
    names = ("farebox_gateway_unpublished_events", "farebox_gateway_calls_under_way")
    figures = [line.split() for line in text.splitlines() if line.startswith(names)]
    return ", ".join(f"{name} {figure}" for name, figure in figures if float(figure))
