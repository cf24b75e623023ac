"""Who calls during a run: orgs with budgets of every sort, small and large, and people and programs to be told."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx

from farebox_local.services import Surroundings

NANO: Final = 10**9
TIMEOUT_S: Final = 10.0
PLATFORM: Final = "platform"


@dataclass(slots=True, eq=False)
class Budget:
    """A budget as it was ordered. `limits` by revision, from 1; in nano-units, or counts."""

    budget_id: str
    account: str
    measure: str
    mode: str
    thresholds: tuple[int, ...]
    limits: dict[int, int]
    lowest_in_force: int
    """The lower of the limits in force and on its way, while a change is under way."""

    @property
    def is_hard(self) -> bool:
        return self.mode == "hard"

    @property
    def newest_limit(self) -> int:
        return self.limits[max(self.limits)]


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the accounts it spends for, from the platform down."""

    key_id: str
    api_key: str
    path: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Tenant:
    """One org. `fx` is units of its currency per USD."""

    org: str
    currency: str
    fx: int
    clamp: bool
    keys: list[Key] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    hooks: list[tuple[str, str]] = field(default_factory=list)
    """Account and name of every webhook."""
    mailboxes: list[tuple[str, str]] = field(default_factory=list)
    """Account and address of every mail channel."""

    def budgets_of(self, key: Key, everybodys: list[Budget]) -> list[Budget]:
        """All on the key's path, the platform's first."""
        return [budget for budget in (*everybodys, *self.budgets) if budget.account in (*key.path, key.key_id)]


class Office:
    """The administrator, over `/api` of any gateway. Insists: an answer that does not come is asked for again."""

    def __init__(self, around: Surroundings, gateways: tuple[str, ...]) -> None:
        self._urls = [around.url(gateway) for gateway in gateways]
        token = around.secrets.of("admin_token")
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"}, timeout=TIMEOUT_S, trust_env=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def made(self, what: str, **body: Any) -> dict[str, Any]:
        return await self._insist("POST", what, body, attempts=3)

    async def changed(self, what: str, **body: Any) -> dict[str, Any]:
        """A change that may be asked for twice."""
        return await self._insist("PATCH", what, body, attempts=200)

    async def _insist(self, method: str, what: str, body: Mapping[str, Any], *, attempts: int) -> dict[str, Any]:
        trouble = ""
        for attempt in range(attempts):
            url = self._urls[attempt % len(self._urls)]
            try:
                answer = await self._client.request(method, f"{url}/api/{what}", json=body)
            except httpx.HTTPError as error:
                trouble = repr(error)
            else:
                if answer.is_success:
                    taken: dict[str, Any] = answer.json()
                    return taken
                trouble = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code in (400, 404, 409, 422):
                    break
            await asyncio.sleep(0.3)
        raise RuntimeError(f"{method} /api/{what} {body}: {trouble}")

    async def budget(
        self,
        account: str,
        limit: int,
        *,
        mode: str = "hard",
        window: str = "lifetime",
        measure: str = "money",
        thresholds: tuple[int, ...] = (50, 80, 95),
    ) -> Budget:
        marks = [{"severity": f"at_{percent}", "percent": str(percent)} for percent in thresholds]
        shown = await self.made(
            "budgets",
            account=account,
            name=f"{account} {mode} {measure} {window}",
            measure=measure,
            window={"kind": window},
            mode=mode,
            limit=amount_text(limit, measure),
            thresholds=marks,
        )
        return Budget(shown["budget_id"], account, measure, mode, thresholds, {1: limit}, limit)

    async def limit(self, budget: Budget, limit: int) -> None:
        """Change a limit; while that is under way the lower of both counts."""
        budget.lowest_in_force = min(budget.newest_limit, limit)
        shown = await self.changed(f"budgets/{budget.budget_id}", limit=amount_text(limit, budget.measure))
        budget.limits[shown["limit_revision"]] = limit
        budget.lowest_in_force = limit

    async def price(self, model: str, rates: Mapping[str, str]) -> dict[str, Any]:
        return await self._insist(
            "POST",
            "prices",
            {"provider": "openai", "model": model, "per": 1_000_000, "rates": dict(rates)},
            attempts=100,
        )


def amount_text(amount: int, measure: str) -> str:
    return str(amount) if measure != "money" else f"{Decimal(amount) / NANO:f}"


async def found(office: Office, around: Surroundings, *, scale: float) -> tuple[list[Tenant], list[Budget]]:
    """Make everybody, and the platform's own budgets. `scale` multiplies the money in large budgets."""

    def large(nano: int) -> int:
        return int(nano * scale)

    everybodys = [
        await office.budget(PLATFORM, 10_000_000, measure="requests", thresholds=()),
        await office.budget(PLATFORM, 2_000, measure="requests", mode="soft", window="day"),
    ]
    tight = await _org(office, around, "tight")
    tight.budgets.append(await office.budget(tight.org, 20_000_000, thresholds=(50, 80, 90, 100)))
    deep = await _org(office, around, "deep")
    deep.budgets += [
        await office.budget(deep.org, large(400_000_000), window="month"),
        await office.budget(f"{deep.org}-a", large(120_000_000)),
        await office.budget(f"{deep.org}-a1", 30_000_000, window="day"),
        await office.budget(deep.keys[0].key_id, 15_000_000, window="week"),
        await office.budget(f"{deep.org}-b", large(50_000_000), mode="soft"),
    ]
    wide = await _org(office, around, "wide")
    wide.budgets += [
        await office.budget(wide.org, large(5_000_000_000)),
        await office.budget(f"{wide.org}-a1", 50_000_000, mode="soft"),
        await office.budget(f"{wide.org}-b1", 1_000_000, measure="tokens"),
    ]
    clamped = await _org(office, around, "clamped", clamp=True)
    clamped.budgets += [
        await office.budget(clamped.org, 30_000_000),
        await office.budget(f"{clamped.org}-a1", 10_000_000),
    ]
    won = await _org(office, around, "won", currency="KRW", fx=1300, language="ko")
    won.budgets += [
        await office.budget(won.org, 100 * NANO, window="day"),
        await office.budget(f"{won.org}-b", 400, measure="requests", window="day"),
    ]
    soft = await _org(office, around, "soft", language="vi")
    soft.budgets += [
        await office.budget(soft.org, 20_000_000, mode="soft"),
        await office.budget(f"{soft.org}-a1", 5_000_000, mode="shadow"),
    ]
    return [tight, deep, wide, clamped, won, soft], everybodys


async def _org(
    office: Office,
    around: Surroundings,
    name: str,
    *,
    currency: str = "USD",
    fx: int = 1,
    clamp: bool = False,
    language: str = "en",
) -> Tenant:
    """org → teams a, b → users a1, a2, b1 with a key each; a mailbox and a webhook, another webhook for team a."""
    tenant = Tenant(name, currency, fx, clamp)
    await office.made(
        "accounts",
        id=name,
        kind="org",
        parent=PLATFORM,
        name=name,
        currency=currency,
        fx_rate=str(fx),
        clamp=clamp,
        language=language,
    )
    for team, users in (("a", ("a1", "a2")), ("b", ("b1",))):
        await office.made("accounts", id=f"{name}-{team}", kind="team", parent=name, name=team)
        for user in users:
            account = f"{name}-{user}"
            await office.made("accounts", id=account, kind="user", parent=f"{name}-{team}", name=user)
            key = await office.made("keys", account=account, name="chaos")
            path = (PLATFORM, name, f"{name}-{team}", account)
            tenant.keys.append(Key(key["key_id"], key["api_key"], path))
    await _channels(office, around, tenant)
    return tenant


async def _channels(office: Office, around: Surroundings, tenant: Tenant) -> None:
    address = f"{tenant.org}@example.com"
    await office.made("channels", account=tenant.org, kind="email", recipients=[address])
    tenant.mailboxes.append((tenant.org, address))
    for account in (tenant.org, f"{tenant.org}-a"):
        url = f"{around.url('webhooks')}/hooks/{account}"
        channel = await office.made("channels", account=account, kind="webhook", url=url)
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(url, json={"secret": channel["secret"]})).raise_for_status()
        tenant.hooks.append((account, account))
