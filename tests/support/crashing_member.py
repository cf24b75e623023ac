"""A member that is killed between its database commit and its offset commit: BOOTSTRAP TOPIC GROUP DSN."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from farebox.kafka import Producer, Record, Rejected, make_broker, subscribe
from farebox.postgres import open_pool
from support.effects import storing


async def main(bootstrap: str, topic: str, group_id: str, dsn: str) -> None:
    pool = await open_pool(dsn, schema="public", size=1)
    store = storing(pool)

    async def store_and_die(records: Sequence[Record]) -> Sequence[Rejected]:
        await store(records)
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    async with (
        Producer(bootstrap, client_id="crashing") as producer,
        make_broker(bootstrap, client_id="crashing") as broker,
    ):
        subscribe(broker, topic, group_id=group_id, handle=store_and_die, producer=producer, instance_id="replica-1")
        await broker.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
