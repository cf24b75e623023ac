"""What the provider's counter needs of a dialect; each dialect is a module."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from farebox_local.provider.asked import Asked
from farebox_local.provider.orders import Counts


class Dialect(Protocol):
    """How requests are read and answers written. `created` is in Unix seconds."""

    NAME: str

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """What the request says. Raises ValueError for one that the provider would refuse with 400."""
        ...

    def answer(self, asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool) -> dict[str, Any]:
        """The JSON answer."""
        ...

    def content_events(self, asked: Asked, counts: Counts, answer_id: str, created: int) -> Iterator[bytes]:
        """The stream up to where the final usage is due."""
        ...

    def closing_events(
        self, asked: Asked, counts: Counts, answer_id: str, created: int, *, with_usage: bool
    ) -> Iterator[bytes]:
        """The rest of the stream."""
        ...

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error body."""
        ...
