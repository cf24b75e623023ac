"""Prices that override the seed catalogue, and how old what is known of them may be."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from farebox.events.envelope import CloudEvent, Instant
from farebox.events.usage import Name
from farebox.pricing import PriceRow

AS_OF_KEY: Final = "as-of"
"""The record's key of `CatalogueAsOf`: there is one catalogue."""


class PriceListed(CloudEvent):
    """Every override, past and coming, of one provider's model. The record's key is `provider/model`."""

    type: ClassVar[str] = "farebox.price.listed.v1"

    provider: Name
    model: Name
    rows: tuple[PriceRow, ...]
    revision: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Grows with every change of this model's rows: keep the highest, whatever order records arrive in. "
        "Null from an older metering; then the list with more rows is the newer, for none is ever taken away.",
    )


class CatalogueAsOf(CloudEvent):
    """Every price that was added before `as_of` is on the topic before this record.

    A raise takes effect at least `lead_s` after it is made, so whoever has read this record knows every raise in force
    until `as_of` + `lead_s`. `revision` grows with every record; `as_of` may go back where a clock was set.
    """

    type: ClassVar[str] = "farebox.price.catalogue_as_of.v1"

    as_of: Instant = Field(description="By the clock of metering's database.")
    lead_s: Annotated[int, Field(ge=1, le=86_400)]
    revision: Annotated[int, Field(ge=1)]
