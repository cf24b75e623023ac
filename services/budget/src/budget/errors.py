"""Errors of the budget service.

    FareboxError
    ├── Unauthenticated
    │   └── UnknownKey      no such key, or revoked
    ├── Conflict
    │   ├── Exists          an account, budget or key of that name is there already
    │   ├── Fenced          a gateway speaks with an epoch that is over
    │   └── StillAlive      a gateway cannot be released yet: it may still be at work
    └── NotFound, Invalid   as in farebox.errors

A refusal of money is not an error: see `shares.rules.Short`.
"""

from farebox.errors import Conflict, Unauthenticated


class UnknownKey(Unauthenticated):
    """The key was never issued, or has been revoked; which of the two is not told."""

    code = "invalid_api_key"


class Exists(Conflict):
    """The name is taken."""

    code = "already_exists"


class Fenced(Conflict):
    """A newer incarnation of this gateway has started; this one must stop admitting."""

    code = "fenced"


class StillAlive(Conflict):
    """Somebody who vouches for a gateway has to wait until no call of it can be under way any more."""

    code = "still_alive"
