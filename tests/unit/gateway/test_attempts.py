"""An attempt in the journal: what is written of its end, and when."""

from pathlib import Path
from typing import cast

import pytest

from farebox.pricing import Catalogue, Usage
from farebox.pricing.usage import MAX_COUNT
from gateway.attempts.attempts import Attempts
from gateway.attempts.event import GatewayEpoch, Outcome
from gateway.attempts.publisher import Publisher
from gateway.journal.journal import COMPLETION_MORE_BYTES, Journal
from gateway.journal.record import Entry
from gateway.journal.replay import Place
from gateway.policy.prices import Prices
from gateway.shares.shares import Shares
from support.clock import HandClock
from support.reservations import NOW, reservation

LONGEST = Usage(
    **dict.fromkeys(("input", "cache_read", "output", "reasoning", "audio_in", "audio_out"), MAX_COUNT),
    tool_calls={chr(0x1D4B3) * 60 + f"{number:04}": MAX_COUNT for number in range(32)},
    service_tier=chr(0x1D4B3) * 64,
)


class Noted:
    """A publisher that only remembers where the journal has what it was given."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def add(self, _: Entry, place: Place, *, is_written: bool) -> None:
        assert is_written
        self.places.append(place)


@pytest.mark.parametrize("hard", [True, False])
def test_the_longest_completion_fits_the_room_that_its_intent_keeps(tmp_path: Path, hard: bool) -> None:
    noted, shares = Noted(), Shares()
    journal = Journal(tmp_path, segment_bytes=1 << 20, limit_bytes=1 << 30, spent=shares.spent, boot="")
    attempts = Attempts(
        shares=shares,
        gateway=lambda: GatewayEpoch("gateway-1", 1),
        journal=journal,
        publisher=cast("Publisher", noted),
        prices=Prices(Catalogue()),
        clock=HandClock(NOW),
    )
    attempt = attempts.begin(reservation(hard=hard))
    name = chr(0x1D4B3) * 256
    attempts.end(attempt, Outcome(LONGEST, name, 599, "client_disconnected", name, 3_600_000))
    assert noted.places[0].length - attempt.intent.length < COMPLETION_MORE_BYTES
    journal.close()
