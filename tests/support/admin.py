"""The administrator's side of `/api`, for tests that set a scene."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Tenant:
    """An org with one team, one user and the user's key."""

    org: str
    team: str
    user: str
    api_key: str


class Admin:
    """Calls `/api` at the gateway with the admin token. Raises httpx.HTTPStatusError for every refusal."""

    def __init__(self, gateway_url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=gateway_url, headers={"authorization": f"Bearer {token}"}, timeout=20, trust_env=False
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **params: str) -> dict[str, Any]:
        return _answer(self._client.get(path, params=params))

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        return _answer(self._client.post(path, json=body))

    def patch(self, path: str, **body: Any) -> dict[str, Any]:
        return _answer(self._client.patch(path, json=body))

    def delete(self, path: str) -> None:
        self._client.delete(path).raise_for_status()

    def tenant(self, **settings: Any) -> Tenant:
        """A new org with team, user and key; settings are the org's, USD and English unless said."""
        org = f"org-{uuid.uuid4().hex[:12]}"
        team, user = f"{org}-team", f"{org}-user"
        terms = {"currency": "USD", "language": "en", **settings}
        self.post("/api/accounts", id=org, kind="org", parent="platform", name=org, **terms)
        self.post("/api/accounts", id=team, kind="team", parent=org, name=team)
        self.post("/api/accounts", id=user, kind="user", parent=team, name=user)
        key = self.post("/api/keys", account=user, name="test")
        return Tenant(org, team, user, key["api_key"])

    def budget(self, account: str, limit: str, **more: Any) -> dict[str, Any]:
        """A hard monthly money budget unless said otherwise."""
        body = {
            "account": account,
            "name": f"of {account}",
            "limit": limit,
            "window": {"kind": "month"},
            "mode": "hard",
        }
        return self.post("/api/budgets", **{**body, **more})


def _answer(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise httpx.HTTPStatusError(
            f"{response.status_code}: {response.text}", request=response.request, response=response
        )
    body: dict[str, Any] = response.json()
    return body
