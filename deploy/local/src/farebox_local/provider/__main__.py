"""`python -m farebox_local.provider --port 9000 --bill bill.jsonl`."""

import argparse
from pathlib import Path

import uvicorn

from farebox.clock import SystemClock
from farebox_local.ports import LOOPBACK
from farebox_local.provider.app import build
from farebox_local.provider.bill import Bill


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox_local.provider")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bill", type=Path, required=True, help="the file every answer is billed to")
    arguments = parser.parse_args()
    uvicorn.run(
        build(Bill(arguments.bill), SystemClock()),
        host=LOOPBACK,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
