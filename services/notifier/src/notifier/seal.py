"""Webhook secrets at rest: sealed with Fernet (AES-128-CBC and HMAC-SHA256), never stored in the clear."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from notifier.errors import CannotUnseal


class Seal:
    """Seals with the first key and opens with any, so that the key itself can be rotated."""

    def __init__(self, keys: str) -> None:
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",")])

    def close(self, secret: str) -> bytes:
        """The secret, sealed."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """The secret again. Raises CannotUnseal where no key fits."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as error:
            raise CannotUnseal("the webhook's secret was sealed with another key") from error
