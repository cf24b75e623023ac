"""A service call is believed only with a fresh token of the deployment's own secret."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from farebox.auth import CLOCK_SKEW, TOKEN_LIFE, Caller, Role, key_hash, sign, verify
from farebox.errors import Forbidden, Unauthenticated

SECRET = "the deployment's service secret, long enough"
VIEWER = Caller("gateway", Role.VIEWER, account="user-minh")


def now() -> datetime:
    return datetime.now(UTC)  # the token library reads the world's clock itself


def bearer(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return f"Bearer {jwt.encode(claims, secret, algorithm=algorithm)}"


def good() -> dict[str, Any]:
    return {"iss": "gateway", "role": "service", "exp": now() + timedelta(minutes=1)}


@pytest.mark.parametrize("caller", [VIEWER, Caller("budget", Role.SERVICE), Caller("gateway", Role.PLATFORM_ADMIN)])
def test_who_signed_is_who_is_read(caller: Caller) -> None:
    assert verify(SECRET, f"Bearer {sign(SECRET, caller, now())}") == caller


def test_the_scheme_is_read_in_any_case() -> None:
    assert verify(SECRET, f"bearer {sign(SECRET, VIEWER, now())}") == VIEWER


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer abc", "Bearer a.b.c"])
def test_without_a_token_nobody_is_known(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        verify(SECRET, header)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        verify(SECRET, f"Bearer {sign('another secret that is just as long', VIEWER, now())}")


def test_a_token_outlives_its_life_by_no_more_than_the_clocks_may_differ() -> None:
    margin = timedelta(seconds=30)
    within, after = (now() - TOKEN_LIFE - CLOCK_SKEW + difference for difference in (margin, -margin))
    assert verify(SECRET, f"Bearer {sign(SECRET, VIEWER, within)}") == VIEWER
    with pytest.raises(Unauthenticated):
        verify(SECRET, f"Bearer {sign(SECRET, VIEWER, after)}")


@pytest.mark.parametrize("claim", ["iss", "role", "exp"])
def test_a_token_that_leaves_a_claim_out_is_refused(claim: str) -> None:
    claims = good()
    del claims[claim]
    with pytest.raises(Unauthenticated):
        verify(SECRET, bearer(claims))


def test_a_role_nobody_has_heard_of_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        verify(SECRET, bearer(good() | {"role": "root"}))


@pytest.mark.parametrize("algorithm", ["HS512", "none"])
def test_a_token_of_another_algorithm_is_refused(algorithm: str) -> None:
    with pytest.raises(Unauthenticated):
        verify(SECRET, bearer(good(), "" if algorithm == "none" else SECRET * 2, algorithm))


def test_a_role_that_is_not_asked_for_is_forbidden() -> None:
    VIEWER.require(Role.PLATFORM_ADMIN, Role.VIEWER)
    with pytest.raises(Forbidden, match="platform-admin or service"):
        VIEWER.require(Role.PLATFORM_ADMIN, Role.SERVICE)


def test_an_api_key_is_kept_as_its_sha256() -> None:
    assert key_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
