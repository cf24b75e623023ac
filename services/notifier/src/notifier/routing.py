"""Which channels an alert goes to."""

from collections.abc import Iterable

from notifier.alert import Alert
from notifier.channel import Channel, ChannelState, Kind


def channels_for(alert: Alert, channels: Iterable[Channel]) -> list[Channel]:
    """The active channels of accounts on the budget's path that want this alert.

    People (mail) hear only of alerts meant for people; programs (webhooks) of every alert of the types they chose.
    """
    return [channel for channel in channels if _wants(channel, alert)]


def _wants(channel: Channel, alert: Alert) -> bool:
    if channel.state is not ChannelState.ACTIVE or channel.account not in alert.budget.path:
        return False
    if channel.kind is Kind.EMAIL:
        return alert.notify_people
    return channel.event_types is None or alert.type in channel.event_types
