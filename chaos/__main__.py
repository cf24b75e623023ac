"""`python -m chaos [--faults 300] [--seed 7]`: run, print the table, end with 1 if anything is wrong."""

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from chaos.report import stories, table
from chaos.run import Order, Result, run
from chaos.schedule import SPACING_S, only, schedule


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="the schedule and the load; drawn if not given")
    parser.add_argument("--per-s", type=float, default=60.0, help="calls a second (%(default)s)")
    parser.add_argument("--spacing-s", type=float, default=SPACING_S, help="between faults, on average (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=2.0, help="load before and after the faults (%(default)s)")
    parser.add_argument("--only", default="", help="comma-separated places of the schedule, from 0: just these faults")
    parser.add_argument("--kinds", default="", help="comma-separated kinds: just these faults")
    parser.add_argument("--folder", type=Path, default=None, help="state; a temporary folder if not given")
    parser.add_argument("--quietly", action="store_true", help="no line for each fault")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="farebox-chaos-"))
    faults = schedule(seed, arguments.faults, spacing_s=arguments.spacing_s)
    if arguments.only:
        faults = only(faults, [int(place) for place in arguments.only.split(",")])
    if arguments.kinds:
        faults = [fault for fault in faults if fault.kind in arguments.kinds.split(",")]
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what this is about
    began = time.monotonic()

    def say(line: str) -> None:
        if not arguments.quietly:
            print(f"[{time.monotonic() - began:6.1f}] {line}", flush=True)

    order = Order(folder, seed, faults, arguments.per_s, calm_s=arguments.calm_s)
    print(f"seed {seed}, {len(faults)} faults, state in {folder}", flush=True)
    result = uvloop.run(_stopped_by_signals(order, say))
    print(table(result))
    if result.is_clean:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        return
    _tell(result)
    raise SystemExit(1)


async def _stopped_by_signals(order: Order, say: Callable[[str], None]) -> Result:
    """SIGTERM and Ctrl-C end the run, and with it everything it started."""
    work = asyncio.ensure_future(run(order, say))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    return await work


def _tell(result: Result) -> None:
    print(f"\n{stories(result)}\n")
    order = result.order
    print(f"state and logs are kept in {order.folder}")
    print(f"again: make chaos SEED={order.seed} FAULTS={len(order.schedule)}")


if __name__ == "__main__":
    main()
