"""Accounts, keys and budgets as rows."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg

from budget.accounts.rules import Account, AccountSettings
from budget.budgets.rules import Budget, BudgetsByAccount
from budget.budgets.windows import Calendar
from budget.errors import Exists
from farebox.errors import NotFound
from farebox.events import AccountPolicyChanged, AccountRef, ThresholdMark
from farebox.events.budget import AccountKind
from farebox.matching import Narrowing
from farebox.postgres import Connection

LIST_MAX = 1_000
_REMEMBERED: Final = 4_096


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as people may see it: never the key itself."""

    key_id: str
    name: str
    account: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None


class Registry:
    """Who there is and what limits are set, inside one transaction."""

    def __init__(self, connection: Connection, queries: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = queries

    async def path(self, account_id: str) -> list[Account]:
        """Accounts from the platform down to this one. Raises NotFound."""
        rows = await self._connection.fetch(self._sql["accounts_on_path"], account_id)
        if not rows:
            raise NotFound(f"there is no account {account_id!r}")
        return [_account(row) for row in rows]

    async def paths_of_keys(self, key_hashes: Collection[str]) -> dict[str, list[Account]]:
        """As `path`, from the platform down to the account of each key that is in force."""
        found: dict[str, list[Account]] = {}
        for row in await self._connection.fetch(self._sql["accounts_on_paths_of_keys"], list(key_hashes)):
            found.setdefault(row["key_hash"], []).append(_account(row))
        return found

    async def children(self, parent: str | None) -> list[Account]:
        rows = await self._connection.fetch(self._sql["accounts"], parent, LIST_MAX)
        return [_account(row) for row in rows]

    async def add_account(
        self, account_id: str, kind: AccountKind, parent: str, name: str, terms: AccountSettings
    ) -> None:
        """Raises Exists, or NotFound for the parent."""
        try:
            row = await self._connection.fetchrow(
                self._sql["account_insert"], account_id, kind, parent, name, *_columns(terms)
            )
        except asyncpg.UniqueViolationError as error:
            raise Exists(f"there is an account {account_id!r} already") from error
        if row is None:
            raise NotFound(f"there is no account {parent!r}")

    async def change_account(self, account_id: str, name: str | None, terms: AccountSettings) -> None:
        """Settings that are None stay as they are."""
        await self._connection.execute(self._sql["account_update"], account_id, name, *_columns(terms))

    async def revise(self, account_id: str) -> None:
        """Give the account its next policy revision. Raises NotFound."""
        if await self._connection.fetchval(self._sql["account_revise"], account_id) is None:
            raise NotFound(f"there is no account {account_id!r}")

    async def news(self, accounts: Collection[str]) -> list[AccountPolicyChanged]:
        """What gateways are to know of accounts as they are. Locked."""
        rows = await self._connection.fetch(self._sql["account_news"], list(accounts))
        return [
            AccountPolicyChanged(
                account_id=row["account_id"],
                kind=row["kind"],
                revision=row["revision"],
                status="revoked" if row["is_revoked"] else "active",
            )
            for row in rows
        ]

    async def revisions(self, after: str, limit: int) -> list[tuple[str, int]]:
        """A page of the accounts that gateways were ever told of, with their revisions."""
        rows = await self._connection.fetch(self._sql["account_revisions"], after, limit)
        return [(row["account_id"], row["revision"]) for row in rows]

    async def foreign_budget(self, path: Sequence[str], currency: str) -> str | None:
        """The name of a money budget on or below the path's end that counts in another currency."""
        row = await self._connection.fetchrow(self._sql["foreign_budgets"], list(path), currency)
        return f"{row['name']} ({row['currency']})" if row else None

    async def foreign_account(self, account_id: str, currency: str) -> str | None:
        """An account at or below this one that bills in another currency."""
        row = await self._connection.fetchrow(self._sql["foreign_accounts"], account_id, currency)
        return f"{row['account_id']} ({row['currency']})" if row else None

    async def add_key(self, key_id: str, key_hash: str, hint: str) -> datetime:
        created: datetime = await self._connection.fetchval(self._sql["key_insert"], key_id, key_hash, hint)
        return created

    async def revoke_key(self, key_id: str, now: datetime) -> datetime:
        """When it was revoked. Raises NotFound."""
        revoked: datetime | None = await self._connection.fetchval(self._sql["key_revoke"], key_id, now)
        if revoked is None:
            raise NotFound(f"there is no key {key_id!r}")
        return revoked

    async def keys_below(self, account_id: str) -> list[KeyRow]:
        rows = await self._connection.fetch(self._sql["keys_below"], account_id, LIST_MAX)
        return [
            KeyRow(r["account_id"], r["name"], r["parent_id"], r["hint"], r["created_at"], r["revoked_at"])
            for r in rows
        ]

    async def add_budget(self, budget: Budget) -> None:
        """Raises Exists for a second budget of that name on the account."""
        try:
            await self._connection.execute(
                self._sql["budget_insert"],
                budget.budget_id,
                budget.account.id,
                budget.name,
                budget.measure,
                budget.currency,
                budget.calendar.kind,
                budget.calendar.zone,
                budget.calendar.week_start,
                budget.limit,
                budget.mode,
                _marks_json(budget.marks),
                json.dumps(budget.narrowed_to._asdict()),
                budget.counts_from,
            )
        except asyncpg.UniqueViolationError as error:
            raise Exists(f"{budget.account.id} has a budget named {budget.name!r} already") from error

    async def change_budget(self, budget: Budget) -> None:
        await self._connection.execute(
            self._sql["budget_update"],
            budget.budget_id,
            budget.name,
            budget.limit,
            budget.limit_revision,
            budget.mode,
            budget.is_active,
            _marks_json(budget.marks),
        )

    async def note_change(self, account_id: str) -> int:
        """Number a change of an account's policy. Nobody else can until this transaction ends."""
        await self._connection.execute(self._sql["policy_change_lock"])
        revision: int = await self._connection.fetchval(self._sql["policy_change_insert"], account_id)
        return revision

    async def harden(self, budget_id: UUID, revision: int | None) -> None:
        """A budget's limit will be guaranteed once every gateway has confirmed this change; None: it is not hard."""
        await self._connection.execute(self._sql["budget_harden"], budget_id, revision)

    async def budget_for_update(self, budget_id: UUID) -> Budget:
        """Locked. Raises NotFound."""
        row = await self._connection.fetchrow(self._sql["budget_for_update"], budget_id)
        if row is None:
            raise NotFound(f"there is no budget {budget_id}")
        return _budget(row)

    async def budgets_of(self, accounts: Collection[str]) -> BudgetsByAccount:
        """Budgets that sit on any of the accounts, by account."""
        found: dict[str, list[Budget]] = {}
        for row in await self._connection.fetch(self._sql["budgets_of"], list(accounts)):
            found.setdefault(row["account_id"], []).append(_budget(row))
        return {account: tuple(budgets) for account, budgets in found.items()}

    async def budgets_named(self, budget_ids: Collection[UUID]) -> dict[UUID, Budget]:
        """Budgets by their ids."""
        rows = await self._connection.fetch(self._sql["budgets_named"], list(budget_ids))
        return {row["budget_id"]: _budget(row) for row in rows}

    async def budgets_around(self, path: Sequence[str]) -> list[Budget]:
        """Budgets on a path, and on everything below its end."""
        rows = await self._connection.fetch(self._sql["budgets_below"], path[-1], list(path), LIST_MAX)
        return [_budget(row) for row in rows]


def _columns(terms: AccountSettings) -> list[Any]:
    return [list(value) if isinstance(value, tuple) else value for value in astuple(terms)]


def _account(row: asyncpg.Record) -> Account:
    def models(name: str) -> tuple[str, ...] | None:
        return None if row[name] is None else tuple(row[name])

    return Account(
        account_id=row["account_id"],
        kind=row["kind"],
        path=tuple(row["path"]),
        name=row["name"],
        revision=row["revision"],
        terms=AccountSettings(
            currency=row["currency"],
            fx_rate=row["fx_rate"],
            fx_source=row["fx_source"],
            fx_date=row["fx_date"],
            language=row["language"],
            zone=row["zone"],
            clamp=row["clamp"],
            min_output_tokens=row["min_output_tokens"],
            default_output_tokens=row["default_output_tokens"],
            allowed_models=models("allowed_models"),
            blocked_models=models("blocked_models"),
            alerts=row["alerts"],
            uncertain_for_s=row["uncertain_for_s"],
        ),
    )


def _budget(row: asyncpg.Record) -> Budget:
    return Budget(
        budget_id=row["budget_id"],
        name=row["name"],
        account=_account_ref(row["account_id"], row["account_kind"], row["account_name"]),
        path=tuple(row["path"]),
        measure=row["measure"],
        currency=row["currency"],
        calendar=Calendar(row["window_kind"], row["zone"], row["week_start"]),
        limit=int(row["limit_amount"]),
        limit_revision=row["limit_revision"],
        mode=row["mode"],
        is_active=row["active"],
        marks=_marks(row["thresholds"]),
        narrowed_to=_narrowing(row["narrowed_to"]),
        counts_from=row["counts_from"],
        hard_since=row["hard_since"],
    )


# A batch reads hundreds of budgets, the same ones as the batch before.


@lru_cache(maxsize=_REMEMBERED)
def _account_ref(account_id: str, kind: AccountKind, name: str) -> AccountRef:
    return AccountRef(id=account_id, kind=kind, name=name)


@lru_cache(maxsize=_REMEMBERED)
def _marks(text: str) -> tuple[ThresholdMark, ...]:
    return tuple(ThresholdMark.model_validate(mark) for mark in json.loads(text))


@lru_cache(maxsize=_REMEMBERED)
def _narrowing(text: str) -> Narrowing:
    return Narrowing(**json.loads(text))


def _marks_json(marks: Sequence[ThresholdMark]) -> str:
    return json.dumps([mark.model_dump(mode="json") for mark in marks])
