"""Errors of the notifier.

    FareboxError
    ├── CannotUnseal        a stored secret does not open with the keys at hand
    └── Invalid
        ├── AddressRefused  a webhook's host leads where webhooks may not go
        ├── UnknownZone     a time zone that the IANA database does not list
        └── Unstorable      an event that PostgreSQL can never hold

What a receiver answers is not an error but an outcome: see `delivery.Outcome`.
"""

from farebox.errors import FareboxError, Invalid


class CannotUnseal(FareboxError):
    """Retrying helps once the right key is configured."""

    code = "cannot_unseal"


class AddressRefused(Invalid):
    """The host has no address, or one that is not public and not allowed."""

    code = "address_refused"


class UnknownZone(Invalid):
    """Nobody could tell the time there."""

    code = "unknown_zone"


class Unstorable(Invalid):
    """Such as a name with a NUL character."""

    code = "unstorable"
