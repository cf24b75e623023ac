"""The demo provider as tests see it: where it is, what it billed, how it shall behave."""

from typing import Any

import httpx


class DemoProvider:
    """A running demo provider. `url` is its root; the OpenAI dialect's base URL is `<url>/v1`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._earlier = len(self._lines())

    def bill(self) -> list[dict[str, Any]]:
        """What it billed since this object was made, oldest first."""
        return self._lines()[self._earlier :]

    def control(self, **orders: object) -> None:
        """Set defaults for requests without orders of their own, for example `fault="http_500", fault_times=2`."""
        httpx.post(f"{self.url}/control", json=orders, trust_env=False).raise_for_status()

    def reset(self) -> None:
        """Take all defaults back."""
        httpx.delete(f"{self.url}/control", trust_env=False).raise_for_status()

    def _lines(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = httpx.get(f"{self.url}/bill", trust_env=False).json()["items"]
        return items
