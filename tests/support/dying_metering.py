"""A replica of metering that is killed between its database commit and its offset commit.

Arguments: DSN BOOTSTRAP REQUESTS PRICED PRICES GROUP.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from pydantic import SecretStr

from farebox.kafka import Record, Rejected
from metering.app import Names, metering
from metering.handlers import Handlers
from metering.settings import Settings


async def main(dsn: str, bootstrap: str, *names: str) -> None:
    settings = Settings(
        port=0, ops_port=0, kafka_bootstrap=bootstrap, service_secret=SecretStr("s" * 32), postgres_dsn=SecretStr(dsn)
    )
    handle = Handlers.on_requests

    async def handle_and_die(self: Handlers, records: Sequence[Record]) -> Sequence[Rejected]:
        await handle(self, records)
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    Handlers.on_requests = handle_and_die  # type: ignore[method-assign]  # the one place where a process can be told to die
    async with metering(settings, Names(*names)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
