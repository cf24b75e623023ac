"""Admitted calls as tests of the gateway's parts need them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from pydantic import HttpUrl

from farebox.events import AccountRef, BillingTerms, Principal
from farebox.matching import Admitted
from farebox.pricing import Catalogue
from farebox.shares import Attributes, PathBudget, Policy
from gateway.admission.estimate import Estimate, bounds, estimate
from gateway.admission.verdict import Reservation
from gateway.dialects.call import read
from gateway.policy.policies import KeyPolicy, Policies
from gateway.shares.shares import Shares, Window, WindowKey
from gateway.upstreams.directory import Upstream, UpstreamConfig

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
BUDGET = UUID(int=5)
WINDOW = Window(WindowKey(BUDGET, datetime(2026, 5, 31, 17, tzinfo=UTC)), 0, None)
"""Of Ann's monthly budget, in money."""
UPSTREAM = Upstream(
    UpstreamConfig(name="demo", provider="openai", dialect="openai", base_url=HttpUrl("http://x/v1"), models=("*",)),
    None,
)
NANO = 10**9


def path_budget(**change: Any) -> PathBudget:
    fields: dict[str, Any] = {
        "budget_id": BUDGET,
        "name": "Tháng",
        "account": AccountRef(id="ann", kind="user", name="Ann"),
        "measure": "money",
        "currency": "VND",
        "mode": "hard",
        "narrowed_to": Attributes(),
        "limit": 29_000 * NANO,
        "spent": 28_000 * NANO,
        "held": 500 * NANO,
        "window_start": WINDOW.key.start,
        "resets_at": datetime(2026, 6, 30, 17, tzinfo=UTC),
        "ends_in_ms": None,
    }
    return PathBudget(**(fields | change))


def policy(**change: Any) -> Policy:
    fields: dict[str, Any] = {
        "principal": Principal(org="acme", team="core", user="ann", key="k1"),
        "billing": BillingTerms(
            currency="VND", fx_rate=Decimal(24167), fx_source="Vietcombank", fx_date=date(2026, 6, 1)
        ),
        "language": "vi",
        "zone": "Asia/Ho_Chi_Minh",
        "clamp": True,
        "min_output_tokens": 16,
        "allowed_models": None,
        "blocked_models": (),
        "budgets": (path_budget(),),
        "fresh_for_ms": 20_000,
    }
    return Policy(**(fields | change))


def key_policy(**change: Any) -> KeyPolicy:
    return Policies(fresh_s=30, stale_s=60).learn("key", policy(**change), asked_at=0)


def reservation(*, hard: bool = True, headers: dict[bytes, bytes] | None = None, **body: Any) -> Reservation:
    """An admitted call of Ann's at 24,167 VND a dollar."""
    raw = orjson.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "chào"}], "max_tokens": 50} | body)
    call = read("openai", raw, headers or {}, max_tokens_limit=10_000)
    rates = Catalogue().rates_for("openai", "gpt-4o", NOW)
    assert rates
    worst = estimate(rates, Decimal(24167), bounds(call, max_tokens_default=50, media_tokens=0))
    assert isinstance(worst, Estimate)
    hold = None
    if hard:
        shares = Shares()
        shares.granted(WINDOW, 1_000 * NANO, 0)
        hold = shares.reserve([WINDOW], worst.amount, 0)
        assert hold
    what_for = call.attribution
    admitted = Admitted(UPSTREAM.name, UPSTREAM.provider, call.model, what_for.feature, what_for.session)
    return Reservation(call, UPSTREAM, admitted, key_policy(), rates, worst, hold, NOW)
