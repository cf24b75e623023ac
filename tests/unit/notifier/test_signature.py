from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from notifier.signature import new_secret, signed_headers

BODY = '{"type":"t","data":{"name":"Phở"}}'.encode()


def headers(*keys: str) -> dict[str, str]:
    return dict(signed_headers("msg-1", int(datetime.now(UTC).timestamp()), BODY, keys))


def test_an_independent_verifier_accepts_it() -> None:
    secret = new_secret()
    assert Webhook(secret).verify(BODY, headers(secret))["type"] == "t"


def test_old_and_new_secret_verify_during_a_rotation() -> None:
    old, new = new_secret(), new_secret()
    assert all(Webhook(secret).verify(BODY, headers(new, old)) for secret in (old, new))


def test_another_body_or_secret_does_not_verify() -> None:
    secret = new_secret()
    for verifier, body in ((Webhook(secret), BODY + b" "), (Webhook(new_secret()), BODY)):
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, headers(secret))


def test_the_published_example_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [secret])
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_and_differ() -> None:
    assert len({new_secret() for _ in range(10)}) == 10
    assert len(new_secret()) == len("whsec_") + 44
