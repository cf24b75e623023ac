"""`budget.events`: every alert is written down with its deliveries, once; what cannot be told is refused."""

from collections.abc import Callable, Sequence

from farebox import faults
from farebox.errors import Invalid
from farebox.events import Envelope, Undecodable, decode
from farebox.kafka import Record, Rejected
from notifier import metrics
from notifier.alert import Alert
from notifier.message import compose
from notifier.store import Store


class AlertHandler:
    """The batch handler. `wake` is called after deliveries were committed."""

    def __init__(self, store: Store, *, console_url: str, wake: Callable[[], None]) -> None:
        self._store = store
        self._console_url = console_url
        self._wake = wake

    async def __call__(self, records: Sequence[Record]) -> Sequence[Rejected]:
        rejected = []
        for record in records:
            try:
                await self._take_up(record)
            except Undecodable as error:
                rejected.append(Rejected(record, error.reason, error.detail))
            except Invalid as error:
                rejected.append(Rejected(record, error.code, str(error)))
        return rejected

    async def _take_up(self, record: Record) -> None:
        envelope = decode(headers=record.headers, value=record.value)
        alert = self._alert(envelope)
        is_new = await self._store.take_up(envelope, alert, (record.value or b"").decode())
        faults.point("notifier.after_taken")
        if is_new:
            metrics.ALERTS.labels(alert.type).inc()
            self._wake()
        else:
            metrics.DUPLICATES.inc()

    def _alert(self, envelope: Envelope) -> Alert:
        """Raises Undecodable for another kind of event, Invalid for one that could not be put into words."""
        if not isinstance(envelope.event, Alert):
            raise Undecodable("unexpected_type", envelope.event.type)
        compose(envelope.event, event_id=envelope.id, occurred_at=envelope.time, console_url=self._console_url)
        return envelope.event
