"""What is done with a call before anybody knows whose it is."""

from typing import Any, cast

import pytest

from farebox.clock import SystemClock
from gateway.errors import UnknownKey
from gateway.http import model_calls
from gateway.http.model_calls import LONG_BODY_BYTES, ModelCalls
from gateway.policy.policies import Policies


class Nobody:
    """Admission that knows no key."""

    async def key_policy(self, _: str) -> None:
        raise UnknownKey("the API key is not valid")


async def test_a_long_body_of_a_key_that_nobody_knows_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    monkeypatch.setattr(model_calls, "body_of", read.append)
    calls = ModelCalls(
        "openai",
        directory=cast("Any", None),
        reservations=cast("Any", Nobody()),
        dispatch=cast("Any", None),
        policies=Policies(fresh_s=1, stale_s=1),
        clock=SystemClock(),
        body_limit_bytes=1 << 20,
        max_tokens_limit=1,
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"[" * (LONG_BODY_BYTES + 1)}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer fbx_x"), (b"content-type", b"application/json")]
    await calls({"type": "http", "method": "POST", "headers": headers}, receive, send)
    assert (sent[0]["status"], read) == (401, [])
