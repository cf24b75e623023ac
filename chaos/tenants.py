"""Who calls during a run: orgs with budgets of every sort, small and large, and people and programs to be told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx

from chaos.admin import NANO, AdminClient
from chaos.budgets import Budget, Midnight, Target
from chaos.tariff import NEVER
from farebox_local.services import Surroundings

PLATFORM: Final = "platform"


@dataclass(slots=True, eq=False)
class Key:
    """A key and the accounts it spends for, from the platform down. `revoked_at`: asked, and known to be done."""

    key_id: str
    api_key: str
    path: tuple[str, ...]
    revocation_asked_at: float = NEVER
    revoked_at: float = NEVER


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

    def budgets_of(self, key: Key, target: Target, everybodys: Sequence[Budget]) -> list[Budget]:
        """All on the key's path that count such a call, the platform's first."""
        path = (*key.path, key.key_id)
        return [each for each in (*everybodys, *self.budgets) if each.account in path and each.counts(target)]


async def found(admin: AdminClient, around: Surroundings, *, scale: float) -> tuple[list[Tenant], list[Budget]]:
    """Make everybody but `rolling`, and the platform's own budgets. `scale` multiplies the money in large budgets."""

    def large(nano: int) -> int:
        return int(nano * scale)

    everybodys = [
        await admin.budget(
            PLATFORM, 10_000_000, measure="requests", thresholds=(), narrowed_to=Target(provider="openai")
        ),
        await admin.budget(PLATFORM, 2_000, measure="requests", mode="soft", window="day"),
    ]
    tight = await new_org(admin, around, "tight")
    tight.budgets.append(await admin.budget(tight.org, 20_000_000, thresholds=(50, 80, 90, 100)))
    deep = await new_org(admin, around, "deep")
    deep.budgets += [
        await admin.budget(deep.org, large(400_000_000), window="month"),
        await admin.budget(f"{deep.org}-a", large(120_000_000)),
        await admin.budget(f"{deep.org}-a1", 30_000_000, window="day"),
        await admin.budget(deep.keys[0].key_id, 15_000_000, window="week"),
        await admin.budget(f"{deep.org}-b", large(50_000_000), mode="soft"),
    ]
    wide = await new_org(admin, around, "wide")
    wide.budgets += [
        await admin.budget(wide.org, large(5_000_000_000)),
        await admin.budget(f"{wide.org}-a1", 50_000_000, mode="soft"),
        await admin.budget(f"{wide.org}-b1", 1_000_000, measure="tokens"),
    ]
    clamped = await new_org(admin, around, "clamped", clamp=True)
    clamped.budgets += [
        await admin.budget(clamped.org, 30_000_000),
        await admin.budget(f"{clamped.org}-a1", 10_000_000),
    ]
    won = await new_org(admin, around, "won", currency="KRW", fx=1300, language="ko")
    won.budgets += [
        await admin.budget(won.org, 100 * NANO, window="day"),
        await admin.budget(f"{won.org}-b", 400, measure="requests", window="day"),
    ]
    soft = await new_org(admin, around, "soft", language="vi")
    soft.budgets += [
        await admin.budget(soft.org, 20_000_000, mode="soft"),
        await admin.budget(f"{soft.org}-a1", 5_000_000, mode="shadow"),
    ]
    narrow = await _narrow(admin, around)
    return [tight, deep, wide, clamped, won, soft, narrow], everybodys


async def _narrow(admin: AdminClient, around: Surroundings) -> Tenant:
    """Budgets that count some of the calls."""
    narrow = await new_org(admin, around, "narrow")
    narrow.budgets += [
        await admin.budget(narrow.org, 15_000_000, narrowed_to=Target(model="gpt-4o-mini")),
        await admin.budget(narrow.org, 25_000_000, narrowed_to=Target(provider="anthropic")),
        await admin.budget(f"{narrow.org}-a", 12_000_000, narrowed_to=Target(feature="search")),
        await admin.budget(f"{narrow.org}-a1", 10_000_000, mode="soft", narrowed_to=Target(provider="openai")),
        await admin.budget(f"{narrow.org}-b1", 4_000_000, mode="soft", narrowed_to=Target(model="claude-haiku-4-5")),
    ]
    return narrow


async def found_rolling(admin: AdminClient, rolling: Tenant, midnights: Sequence[Midnight]) -> None:
    """A budget by the day for each midnight: on the org, then on each user. Made last, so that days end on time."""
    accounts = [rolling.org, *(f"{rolling.org}-{user}" for user in ("a1", "a2", "b1"))]
    for account, midnight in zip(accounts, midnights, strict=False):
        limit = 100_000_000 if account == rolling.org else 6_000_000
        rolling.budgets.append(await admin.budget(account, limit, window="day", midnight=midnight))


async def new_org(
    admin: AdminClient,
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
    await admin.made(
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
        await admin.made("accounts", id=f"{name}-{team}", kind="team", parent=name, name=team)
        for user in users:
            account = f"{name}-{user}"
            await admin.made("accounts", id=account, kind="user", parent=f"{name}-{team}", name=user)
            tenant.keys.append(await new_key(admin, (PLATFORM, name, f"{name}-{team}", account)))
    await _channels(admin, around, tenant)
    return tenant


async def new_key(admin: AdminClient, path: tuple[str, ...]) -> Key:
    """A key of the path's last account."""
    key = await admin.made_at_least_once("keys", account=path[-1], name="chaos")
    return Key(key["key_id"], key["api_key"], path)


async def _channels(admin: AdminClient, around: Surroundings, tenant: Tenant) -> None:
    address = f"{tenant.org}@example.com"
    await admin.made("channels", account=tenant.org, kind="email", recipients=[address])
    tenant.mailboxes.append((tenant.org, address))
    for account in (tenant.org, f"{tenant.org}-a"):
        url = f"{around.url('webhooks')}/hooks/{account}"
        channel = await admin.made("channels", account=account, kind="webhook", url=url)
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(url, json={"secret": channel["secret"]})).raise_for_status()
        tenant.hooks.append((account, account))
