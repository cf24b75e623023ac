"""What the administrative routes share: the store, the clock, and telling gateways that a policy changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.requests import Request

from budget.accounts.rules import PLATFORM
from budget.alerts.operations import SOURCE
from budget.store import Store, Unit
from farebox import topics
from farebox.auth import Caller, Role
from farebox.clock import Clock
from farebox.errors import Forbidden, NotFound
from farebox.events import Envelope
from farebox.ids import new_id
from farebox.kafka import Message
from farebox.money import NANO

AccountId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Body(BaseModel):
    """A request body: a field nobody knows is refused, never dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Administration:
    """Where administrative acts are done."""

    store: Store
    clock: Clock
    wake: Callable[[], None]

    async def announce_change(self, unit: Unit, account_id: str) -> int:
        """Tell gateways to forget what they know of this account and those below it, by the topic and by their next
        beat; the number of the change. Raises NotFound."""
        await unit.registry.revise(account_id)
        await announce_news(unit, [account_id], self.clock.now())
        return await unit.registry.note_change(account_id)


async def announce_news(unit: Unit, accounts: Sequence[str], now: datetime) -> None:
    """Publish the policy revisions of accounts as they are."""
    messages = []
    for event in await unit.registry.news(accounts):
        envelope = Envelope(new_id(), SOURCE, now, event.account_id, event)
        messages.append(Message.carrying(envelope, topic=topics.ACCOUNT_POLICY.name, key=event.account_id))
    await unit.announce(messages)


def administers(caller: Caller) -> None:
    """Raises Forbidden unless the caller may change accounts, keys and budgets."""
    caller.require(Role.PLATFORM_ADMIN)


def readable(caller: Caller, asked: str | None) -> str:
    """The account a reader means: an administrator's choice or the platform, a viewer's choice or its own."""
    caller.require(Role.PLATFORM_ADMIN, Role.VIEWER)
    if caller.role is Role.PLATFORM_ADMIN:
        return asked or PLATFORM
    if caller.account is None:
        raise Forbidden("this token names no account")
    return asked or caller.account


def may_see(caller: Caller, path: Sequence[str]) -> None:
    """Raises Forbidden unless the path's account is the viewer's own, or below it."""
    if caller.role is Role.VIEWER and caller.account not in path:
        raise Forbidden("this account is not yours to see")


def identified(request: Request, name: str) -> UUID:
    """A UUID in the path. Raises NotFound for anything else: there is no such thing."""
    try:
        return UUID(request.path_params[name])
    except ValueError:
        raise NotFound(f"{name} is a UUID") from None


def amount_text(amount: int, currency: str | None) -> str:
    """A decimal string in the currency, or a plain count where there is none."""
    if currency is None:
        return str(amount)
    return f"{(Decimal(amount) / NANO).normalize():f}"
