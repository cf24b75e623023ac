"""What a process says at its start: what the epoch before spent, where its journal is the whole story. Pure."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from farebox.shares import StartRequest, WindowSpent
from gateway.journal.journal import Recovered
from gateway.shares.shares import Spent

SPENT_MAX: Final = 4_000
"""Windows in one message: about 500 kB."""


def start_requests(recovered: Recovered, *, gateway_id: str, process_id: UUID) -> Iterator[StartRequest]:
    """At least one message; all but the last say that there are more."""
    spent = [_wire(each) for each in recovered.spent] if recovered.is_whole else []
    for place in range(0, max(1, len(spent)), SPENT_MAX):
        yield StartRequest(
            gateway_id=gateway_id,
            process_id=process_id,
            last_epoch=recovered.epoch,
            last_record=recovered.last_record,
            is_whole=recovered.is_whole,
            spent=tuple(spent[place : place + SPENT_MAX]),
            more=place + SPENT_MAX < len(spent),
        )


def _wire(each: Spent) -> WindowSpent:
    return WindowSpent(budget_id=each.key.budget_id, window_start=each.key.start, spent=each.amount)
