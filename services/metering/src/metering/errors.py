"""Errors of metering.

    FareboxError
    ├── Invalid
    │   └── BadSpan          a time range that is none
    ├── NotFound
    │   └── UnknownAttempt   a correction of an attempt that is not in the books
    ├── Conflict
    │   └── OtherCorrection  a correction's id that was used for another one
    └── Transient
        ├── PricesChanged    overrides were added while a batch was priced: price it again
        ├── PriceUnreadable an override that this version cannot read: no charge may be made without it
        └── BooksClosed      a constraint refuses a batch for a reason that no record of it is to blame for

That a call has no price is no error but a value (`charge.Suspended`).
"""

from farebox.errors import Conflict, Invalid, NotFound, Transient


class BadSpan(Invalid):
    """The range asked for is empty, backwards or not made of instants."""

    code = "bad_span"


class UnknownAttempt(NotFound):
    """Nothing of the attempt is in the ledger, nor does it wait for its price."""

    code = "unknown_attempt"


class OtherCorrection(Conflict):
    """Another attempt, usage, amount or reason was stated under this id before."""

    code = "other_correction"


class PricesChanged(Transient):
    """The batch was priced with an older set of overrides than the one in force."""

    code = "prices_changed"


class PriceUnreadable(Transient):
    """A newer version has written a price that this one does not understand. It waits to be replaced."""

    code = "price_unreadable"


class BooksClosed(Transient):
    """A partition is missing, or two tables contradict each other. Attempts wait until somebody mends it."""

    code = "books_closed"
