"""The made-up alert of a test message."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal
from uuid import UUID

from farebox.events import AccountRef, BudgetState, BudgetWindow, Locale, ThresholdCrossed, ThresholdMark
from farebox.money import NANO
from notifier.channel import Channel

_MARKS: Final = (
    ThresholdMark(severity="info", percent=Decimal(50)),
    ThresholdMark(severity="warning", percent=Decimal(80)),
    ThresholdMark(severity="critical", percent=Decimal(95)),
)
_ANY_BUDGET: Final = UUID(int=0)


def sample_alert(channel: Channel, language: Literal["vi", "ko", "en"], now: datetime) -> ThresholdCrossed:
    """81.25 of 100 US dollars spent this month, on the channel's account."""
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    return ThresholdCrossed(
        budget=BudgetState(
            budget_id=_ANY_BUDGET,
            budget_name=channel.name,
            account=AccountRef(id=channel.account, kind="org", name=channel.account),
            path=(channel.account,),
            measure="money",
            currency="USD",
            mode="hard",
            window=BudgetWindow(kind="month", start=start, end=end, zone="UTC"),
            limit=100 * NANO,
            limit_revision=1,
            spent=81_250_000_000,
            held=0,
            remaining=18_750_000_000,
            percent_spent=Decimal("81.25"),
            thresholds=_MARKS,
            revision=1,
        ),
        locale=Locale(language=language, zone="UTC"),
        threshold=_MARKS[1],
    )
