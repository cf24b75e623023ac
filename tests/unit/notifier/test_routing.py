from dataclasses import replace

from farebox.events import BudgetExhausted, ThresholdCrossed
from farebox.ids import new_id
from notifier.channel import Channel, ChannelState, Kind
from notifier.routing import channels_for
from support.alerts import NOON, crossed


def channel(kind: Kind = Kind.WEBHOOK, account: str = "acme", types: tuple[str, ...] | None = None) -> Channel:
    return Channel(new_id(), account, kind, "name", ChannelState.ACTIVE, None, (), None, types, NOON, NOON)


def test_every_account_on_the_path_is_told() -> None:
    channels = [channel(account=account) for account in ("platform", "acme", "other")]
    assert channels_for(crossed(), channels) == channels[:2]


def test_mail_is_for_what_people_should_know() -> None:
    mail, webhook = channel(Kind.EMAIL), channel()
    assert channels_for(crossed(notify_people=False), [mail, webhook]) == [webhook]
    assert channels_for(crossed(notify_people=True), [mail, webhook]) == [mail, webhook]


def test_a_webhook_gets_the_types_it_chose() -> None:
    exhausted, all_ = (
        channel(types=(BudgetExhausted.type,)),
        channel(types=(ThresholdCrossed.type, BudgetExhausted.type)),
    )
    assert channels_for(crossed(), [exhausted, all_]) == [all_]


def test_a_disabled_channel_gets_nothing() -> None:
    assert channels_for(crossed(), [replace(channel(), state=ChannelState.DISABLED)]) == []
