from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from support.sinks import WebhookSink

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type": "farebox.budget.threshold_crossed.v1"}'


def send(endpoint: str, *, secret: str = SECRET, body: str = BODY) -> int:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    return httpx.post(endpoint, content=body, headers=headers).status_code


def test_a_signed_webhook_is_kept_as_verified(webhook_sink: WebhookSink) -> None:
    webhook_sink.register("signed", SECRET)
    assert send(webhook_sink.endpoint("signed")) == 204
    [row] = webhook_sink.received("signed")
    assert (row["verified"], row["headers"]["webhook-id"]) == (True, "msg_1")
    assert row["body"] == {"type": "farebox.budget.threshold_crossed.v1"}


def test_a_webhook_signed_by_another_is_kept_as_unverified(webhook_sink: WebhookSink) -> None:
    webhook_sink.register("forged", SECRET)
    assert send(webhook_sink.endpoint("forged"), secret="whsec_" + "A" * 32) == 401
    assert [row["verified"] for row in webhook_sink.received("forged")] == [False]


def test_refusals_end_after_their_number(webhook_sink: WebhookSink) -> None:
    webhook_sink.register("unwilling", SECRET)
    webhook_sink.refuse("unwilling", 500, times=2)
    assert [send(webhook_sink.endpoint("unwilling")) for _ in range(3)] == [500, 500, 204]


@pytest.mark.parametrize("order", [{"secret": "plain"}, {"refusal": {"status": 200}}, {"secert": SECRET}])
def test_a_wrong_order_is_refused(webhook_sink: WebhookSink, order: dict[str, object]) -> None:
    assert httpx.put(webhook_sink.endpoint("wrong"), json=order).status_code == 400
