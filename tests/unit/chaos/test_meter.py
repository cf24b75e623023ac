"""A refusal is false if every hard budget could have carried the call beside all that was going on."""

import time

import pytest

from chaos.budgets import Budget
from chaos.calls import Call
from chaos.meter import Meter
from chaos.outages import Outages
from chaos.tenants import Key, Tenant

KEY = Key("key", "fbx_secret", ("platform", "acme", "acme-a", "acme-a1"))


def call(tenant: Tenant, *, worst: int, status: int | None = None, billed: int | None = None) -> Call:
    made = Call("c", tenant, KEY, "gateway", "m", False, None, worst, worst, 8, 2, began=time.monotonic())
    made.ended, made.status, made.billed = made.began, status, billed
    made.code = "budget_exceeded" if status == 402 else ""
    return made


@pytest.fixture
def tenant() -> Tenant:
    budgets = [
        Budget("b", "acme", "money", "hard", (), {1: 100}, 100),
        Budget("s", "acme", "money", "soft", (), {1: 1}, 1),
    ]
    return Tenant("acme", "USD", 1, clamp=False, keys=[KEY], budgets=budgets)


def refused(meter: Meter, tenant: Tenant, worst: int) -> int:
    """How many false refusals there are after one more refusal."""
    asked = call(tenant, worst=worst, status=402)
    meter.begins(asked)
    meter.ends(asked)
    return len(meter.false_refusals)


def test_a_refusal_with_all_of_a_budget_left_is_false(tenant: Tenant) -> None:
    assert refused(Meter([], Outages()), tenant, 100) == 1


def test_a_call_that_does_not_fit_is_refused_rightly(tenant: Tenant) -> None:
    assert refused(Meter([], Outages()), tenant, 101) == 0


def test_what_is_under_way_counts_with_its_worst_case(tenant: Tenant) -> None:
    meter = Meter([], Outages())
    meter.begins(call(tenant, worst=40))
    assert refused(meter, tenant, 61) == 0
    assert refused(Meter([], Outages()), tenant, 61) == 1


def test_what_is_in_suspense_is_spent(tenant: Tenant) -> None:
    meter = Meter([], Outages())
    meter.suspended = {"b": 30}
    assert refused(meter, tenant, 71) == 0
    assert refused(meter, tenant, 70) == 1


def test_rights_locked_up_with_one_that_is_away_are_counted_apart(tenant: Tenant) -> None:
    outages = Outages()
    outages.begins("gateway-2")
    meter = Meter([], outages)
    assert refused(meter, tenant, 100) == 0
    assert len(meter.false_while_away) == 1
