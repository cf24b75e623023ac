"""`/api/keys`: issue, list and revoke API keys."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from budget.accounts.rules import AccountSettings, misplaced
from budget.administration import AccountId, Administration, Body, Label, administers
from farebox.auth import key_hash
from farebox.errors import Invalid
from farebox.http import JSON, body, caller
from farebox.ids import new_api_key, new_id

HINT_LENGTH = 8


class NewKey(Body):
    """Body of POST /api/keys."""

    account: AccountId
    name: Label


def key_routes(administration: Administration) -> Sequence[BaseRoute]:
    async def issue(request: Request) -> Response:
        administers(caller(request))
        new = await body(request, NewKey)
        key_id, secret = f"key_{new_id().hex}", new_api_key()
        async with administration.store.transaction() as unit:
            parents = await unit.registry.path(new.account)
            if problem := misplaced("key", parents[-1].kind):
                raise Invalid(problem.replace("parent:", "account:", 1))
            await unit.registry.add_account(key_id, "key", new.account, new.name, AccountSettings())
            created = await unit.registry.add_key(key_id, key_hash(secret), secret[:HINT_LENGTH])
        answer = {"key_id": key_id, "api_key": secret, "account": new.account, "name": new.name, "created_at": created}
        return JSON(answer, status_code=201, headers={"cache-control": "no-store"})

    async def revoke(request: Request) -> Response:
        administers(caller(request))
        key_id = request.path_params["key_id"]
        async with administration.store.transaction() as unit:
            revoked = await unit.registry.revoke_key(key_id, administration.clock.now())
            await administration.announce_change(unit, key_id)
        administration.wake()
        return JSON({"key_id": key_id, "revoked_at": revoked})

    async def show_all(request: Request) -> Response:
        administers(caller(request))
        async with administration.store.transaction() as unit:
            path = await unit.registry.path(request.query_params.get("account", "platform"))
            keys = await unit.registry.keys_below(path[-1].account_id)
        return JSON({"items": keys, "next_cursor": None})

    return [
        Route("/api/keys", issue, methods=["POST"]),
        Route("/api/keys", show_all, methods=["GET"]),
        Route("/api/keys/{key_id}", revoke, methods=["DELETE"]),
    ]
