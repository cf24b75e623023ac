"""Errors of metering.

    FareboxError
    ├── Invalid
    │   └── BadSpan        a time range that is none
    └── Transient
        └── PricesChanged  overrides were added while a batch was priced: price it again

That a call has no price is no error but a value (`charge.Suspended`).
"""

from farebox.errors import Invalid, Transient


class BadSpan(Invalid):
    """The range asked for is empty, backwards or not made of instants."""

    code = "bad_span"


class PricesChanged(Transient):
    """The batch was priced with an older set of overrides than the one in force."""

    code = "prices_changed"
