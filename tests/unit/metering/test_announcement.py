"""What `usage.priced` says."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from farebox.events import Envelope, SuspenseReason, UsagePriced, decode
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.pricing import Catalogue
from metering import announcement
from metering.attempt import Attempt
from metering.charge import Entry, PriceBook, Suspended, charge
from support.attempts import ALICE, HELD, KRW, LEASED, USD, VND, attempt
from support.usages import text_usages

AT = datetime(2026, 3, 15, 12, 30, 1, 5, tzinfo=UTC)
BOOK = PriceBook(Catalogue(), 0)
LONER = ALICE.model_copy(update={"team": None, "user": None, "key": 'kéy "1"'})

entries = st.builds(
    lambda **changes: charge(BOOK, Attempt(attempt(**changes), "")),
    usage=text_usages,
    billing=st.sampled_from([USD, VND, KRW]),
    principal=st.sampled_from([ALICE, LONER]),
    session=st.sampled_from([None, "chat-1"]),
    feature=st.sampled_from([None, "trò chuyện"]),
    lease=st.sampled_from([None, LEASED]),
    held=st.sampled_from([None, HELD]),
)


@given(entries)
def test_a_charge_is_announced_as_a_usage_priced_with_its_amounts_under_the_entrys_id(entry: Entry) -> None:
    event = entry.attempt.event
    told = UsagePriced(
        entry_id=event.attempt_id,
        attempt_id=event.attempt_id,
        request_id=event.request_id,
        occurred_at=event.started_at,
        priced_at=AT,
        principal=event.principal,
        session=event.session,
        feature=event.feature,
        provider=event.provider,
        model=event.served_model,
        cost_nano_usd=entry.cost_nano_usd,
        billed_nano=entry.billed_nano,
        currency=event.billing.currency,
        price_version=entry.tariff.price_version,
        requests=event.usage.requests,
        tokens=event.usage.total,
        usage_source=event.usage.source.value,
        lease=event.lease,
        held=event.held,
    )
    subject = event.principal.subject()
    envelope = Envelope(event.attempt_id, announcement.SOURCE, AT, subject, told)
    assert list(announcement.priced([entry], AT, topic="t")) == [Message.carrying(envelope, topic="t", key=subject)]


def test_a_suspended_attempt_is_announced_without_amounts_under_an_id_of_its_own() -> None:
    event, id_ = attempt(), new_id()
    waiting = Suspended(Attempt(event, ""), SuspenseReason.UNKNOWN_MODEL, "which?")
    message = announcement.suspended(waiting, AT, id_, topic="t")
    envelope = decode(headers={name: value or b"" for name, value in message.headers}, value=message.value)
    told = envelope.event
    assert isinstance(told, UsagePriced)
    assert (envelope.id, told.entry_id, told.suspense) == (id_, event.attempt_id, SuspenseReason.UNKNOWN_MODEL)
    assert (told.cost_nano_usd, told.billed_nano, told.price_version, message.key) == (None, None, None, b"alice")
    assert told.held == event.held
