"""Prices that override the seed catalogue."""

from typing import ClassVar

from farebox.events.envelope import CloudEvent
from farebox.events.usage import Name
from farebox.pricing import PriceRow


class PriceListed(CloudEvent):
    """Every override, past and coming, of one provider's model. The record's key is `provider/model`."""

    type: ClassVar[str] = "farebox.price.listed.v1"

    provider: Name
    model: Name
    rows: tuple[PriceRow, ...]
