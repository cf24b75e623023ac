"""Who calls, between services and at `/api`.

Service calls carry a short-lived token (JWT, HS256, RFC 7519) signed with the deployment's service secret. It states
the calling service and, for requests forwarded from `/api`, the person's role and the account they may see.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import jwt

from farebox.errors import Forbidden, Unauthenticated

_ALGORITHM: Final = "HS256"
TOKEN_LIFE: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=60)


class Role(StrEnum):
    """What a caller may do. `SERVICE` is one of the four talking for itself."""

    SERVICE = "service"
    PLATFORM_ADMIN = "platform-admin"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of a request. `account` bounds what a viewer may see; null means everything."""

    service: str
    role: Role
    account: str | None = None

    def require(self, *roles: Role) -> None:
        """Raises Forbidden unless the caller has one of the roles."""
        if self.role not in roles:
            raise Forbidden(f"this needs the role {' or '.join(roles)}")


def sign(secret: str, caller: Caller, now: datetime) -> str:
    """A token for `Authorization: Bearer`, good for TOKEN_LIFE."""
    claims = {"iss": caller.service, "role": caller.role.value, "iat": now, "exp": now + TOKEN_LIFE}
    if caller.account is not None:
        claims["acct"] = caller.account
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def verify(secret: str, authorization: str | None) -> Caller:
    """The caller behind an Authorization header. Raises Unauthenticated; never says which part was wrong."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("a service token is required")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            leeway=CLOCK_SKEW,
            options={"require": ["iss", "role", "exp"]},
        )
        return Caller(service=claims["iss"], role=Role(claims["role"]), account=claims.get("acct"))
    except (jwt.InvalidTokenError, ValueError) as error:
        raise Unauthenticated("the service token is not valid") from error


def key_hash(api_key: str) -> str:
    """SHA-256 of an API key, in hex. Keys carry 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(api_key.encode()).hexdigest()
