"""What admission costs a call, all of it in memory: microseconds, best of several runs. No network, no servers.

    uv run python bench/admission.py

A chat call under a hard budget whose share has room: read and checked, priced at its worst, reserved; then its intent
in the journal, and at its end the settlement, the journal again and the event.
"""

import sys
import tempfile
import timeit
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

import orjson

from farebox.clock import SystemClock
from farebox.pricing import Catalogue
from gateway.admission.estimate import bounds, estimate
from gateway.attempts.attempts import Attempts
from gateway.attempts.event import GatewayEpoch, Outcome
from gateway.attempts.publisher import Publisher
from gateway.dialects.call import read
from gateway.dialects.usage import from_openai
from gateway.journal.journal import Journal
from gateway.policy.prices import Prices
from gateway.shares.shares import Shares

sys.path[0] = str(Path(__file__).resolve().parent.parent / "tests")

from support.reservations import WINDOW, key_policy, reservation  # noqa: E402 - the tests' admitted call, found one line up

ROUNDS, RUNS = 5_000, 7
BODY: Final = orjson.dumps(
    {"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": "How many people live in Hanoi?"}]}
)
USAGE: Final[Mapping[str, int]] = {"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 50}


class Nowhere:
    """A publisher that keeps nothing: publishing is not part of an answer's time."""

    def add(self, *_: object, **__: object) -> None:
        pass


def microseconds(call: Callable[[], object]) -> float:
    """Best of RUNS, a call."""
    return min(timeit.repeat(call, number=ROUNDS, repeat=RUNS)) / ROUNDS * 1e6


def main() -> None:
    admitted, settings = reservation(), key_policy().settings
    shares, path, amount = Shares(), [WINDOW], admitted.estimate.amount
    shares.granted(WINDOW, 1 << 60, 0)
    call = read("openai", BODY, {}, max_tokens_limit=10_000)
    limits = bounds(call, max_tokens_default=50, media_tokens=0)
    usage = from_openai(USAGE)
    assert usage is not None
    outcome = Outcome(usage, "gpt-4o", 200)

    def reserved() -> None:
        hold = shares.reserve(path, amount, 0)
        assert hold is not None
        shares.void(hold)

    with tempfile.TemporaryDirectory(prefix="farebox-bench-") as folder:
        journal = Journal(Path(folder), segment_bytes=1 << 26, limit_bytes=1 << 34, spent=shares.spent, boot="")
        publisher, prices = cast("Publisher", Nowhere()), Prices(Catalogue())
        attempts = Attempts(
            shares=shares,
            gateway=lambda: GatewayEpoch("gateway-1", 1),
            journal=journal,
            publisher=publisher,
            prices=prices,
            clock=SystemClock(),
        )

        def whole() -> None:
            hold = shares.reserve(path, amount, 0)
            assert hold is not None
            attempts.end(attempts.begin(admitted._replace(hold=hold)), outcome)

        rows = {
            "read: parse the body, check its fields": lambda: read("openai", BODY, {}, max_tokens_limit=10_000),
            "estimate: worst case at the rates in force": lambda: estimate(admitted.rates, settings.fx_rate, limits),
            "reserve in the share, and give back": reserved,
            "reserve, intent, settle, completed, event": whole,
        }
        for name, work in rows.items():
            print(f"{name:44} {microseconds(work):6.2f} µs")
        journal.close()


if __name__ == "__main__":
    main()
