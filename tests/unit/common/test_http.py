"""What the services' HTTP has in common: who calls, what went wrong, how a process is."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from farebox.auth import Caller, Role, sign
from farebox.errors import Conflict, FareboxError, Forbidden, Invalid, NotFound, Transient
from farebox.http import BODY_LIMIT_BYTES, JSON, api, body, caller, health_routes, ops

SECRET = "the deployment's service secret, long enough"


class Asked(BaseModel):
    name: str
    count: int


ERRORS = {"conflict": Conflict("exists"), "away": Transient("Kafka is away"), "lost": NotFound("no such thing")}


async def failing(request: Request) -> Response:
    raise ERRORS.get(request.path_params["how"], RuntimeError("the password is hunter2"))


async def asked(request: Request) -> Response:
    return JSON(await body(request, Asked))


async def who(request: Request) -> Response:
    asking = caller(request)
    asking.require(Role.SERVICE)
    return JSON({"service": asking.service, "share": Decimal("0.10")})


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    routes = [Route("/fails/{how}", failing), Route("/asked", asked, methods=["POST"]), Route("/who", who)]
    transport = httpx.ASGITransport(api(routes, secret=SECRET), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.mark.parametrize(("how", "status", "code"), [("conflict", 409, "conflict"), ("lost", 404, "not_found")])
async def test_an_error_answers_with_its_own_status_and_code(
    client: httpx.AsyncClient, how: str, status: int, code: str
) -> None:
    answer = await client.get(f"/fails/{how}")
    assert answer.status_code == status
    assert answer.json() == {"error": {"code": code, "message": str(ERRORS[how])}}


async def test_an_error_that_passes_says_when_to_come_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fails/away")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_defect_is_not_told_to_the_caller(client: httpx.AsyncClient) -> None:
    answer = await client.get("/fails/unexpectedly")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "hunter2" not in answer.text


async def test_a_body_is_read_as_its_model(client: httpx.AsyncClient) -> None:
    answer = await client.post("/asked", json={"name": "a", "count": 3})
    assert answer.json() == {"name": "a", "count": 3}


async def test_every_problem_of_a_body_is_a_sentence_that_repeats_no_input(client: httpx.AsyncClient) -> None:
    answer = await client.post("/asked", json={"count": "hunter2"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_request")
    assert [problem.partition(":")[0] for problem in error["problems"]] == ["name", "count"]
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"null", b"[1]"])
async def test_a_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient, raw: bytes) -> None:
    assert (await client.post("/asked", content=raw)).status_code == 422


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/asked", content=b" " * (BODY_LIMIT_BYTES + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("role", "status"), [(Role.SERVICE, 200), (Role.VIEWER, 403)])
async def test_a_caller_is_who_the_token_says(client: httpx.AsyncClient, role: Role, status: int) -> None:
    token = sign(SECRET, Caller("gateway", role), datetime.now(UTC))
    answer = await client.get("/who", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert status != 200 or answer.json() == {"service": "gateway", "share": "0.10"}


async def test_without_a_token_nobody_calls(client: httpx.AsyncClient) -> None:
    assert (await client.get("/who")).status_code == 401


@pytest.mark.parametrize(
    ("dead", "away", "live", "ready"),
    [([], [], 200, 200), ([], ["PostgreSQL is away"], 200, 503), (["a consumer died"], [], 503, 503)],
)
async def test_a_dependency_that_is_away_makes_a_process_unready_but_not_dead(
    dead: list[str], away: list[str], live: int, ready: int
) -> None:
    async def problems() -> list[str]:
        return away

    app = ops(health_routes(live=lambda: dead, ready=problems))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ops") as client:
        assert (await client.get("/healthz/live")).status_code == live
        answer = await client.get("/healthz/ready")
        assert (answer.status_code, answer.json()["problems"]) == (ready, dead or away)


async def test_metrics_are_in_prometheus_own_format() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ops([])), base_url="http://ops") as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "python_info" in answer.text


def error_types(root: type[FareboxError]) -> list[type[FareboxError]]:
    return [root, *(each for child in root.__subclasses__() for each in error_types(child))]


def test_only_what_may_pass_is_worth_another_try() -> None:
    assert {error.code for error in (Transient, Invalid, NotFound, Conflict, Forbidden) if error.retryable} == {
        "unavailable"
    }
    assert all(400 <= error.status <= 599 for error in error_types(FareboxError))
