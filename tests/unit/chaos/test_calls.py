"""Calls are drawn from a seed; what is billed for one of ten is exactly what a gateway must have reserved."""

import json
import random

import pytest

from chaos.calls import Draw, Drawn, Mix, provider_of
from chaos.tariff import SEED, Tariff
from chaos.tenants import Key, Tenant
from farebox.pricing.capacity import capacity_of
from gateway.admission.bounds import bounds
from gateway.dialects.call import read
from gateway.upstreams.directory import Dialect
from gateway.vendors.directory import traits_of

KEY = Key("key", "fbx_secret", ("platform", "acme", "acme-a", "acme-a1"))


def drawn(mix: Mix, count: int = 200, seed: int = 7) -> list[Drawn]:
    tenant = Tenant("acme", "USD", 1, clamp=False, keys=[KEY])
    tariff = Tariff()
    for model, rate in SEED.items():
        tariff.put(model, rate)
    draw = Draw(random.Random(seed), [tenant], [], tariff, mix)  # noqa: S311 - a load, not a secret
    return [draw.next() for _ in range(count)]


def orders(each: Drawn) -> dict[str, str]:
    metadata: dict[str, str] = json.loads(each.body)["metadata"]
    return metadata


def test_a_seed_draws_the_same_calls() -> None:
    assert [each.body for each in drawn(Mix(), seed=3)] == [each.body for each in drawn(Mix(), seed=3)]


@pytest.mark.parametrize("mix", [Mix(), Mix(pictures=100), Mix(several_choices=100, tools=100)])
def test_a_gateway_reserves_for_all_that_a_call_is_said_to_need(mix: Mix) -> None:
    for each in drawn(mix):
        dialect: Dialect = "anthropic" if each.path == "/v1/messages" else "openai"
        call = read(dialect, each.body, {}, max_tokens_limit=1_000_000)
        provider = provider_of(call.model)
        reserved = bounds(call, call.model, traits_of(provider, call.model), capacity_of(provider, call.model))
        assert reserved.input + reserved.exposure.image_in >= each.call.input_bound
        assert reserved.output * reserved.choices == each.call.output_bound


def test_an_exact_call_is_billed_what_must_have_been_reserved() -> None:
    for each in drawn(Mix(faulty=0, exact=100, above=0, pictures=0)):
        assert int(orders(each)["demo_prompt_tokens"]) == each.call.input_bound
        assert each.call.ordered_tokens == each.call.tokens


def test_a_call_above_its_reserve_is_reported() -> None:
    above = [each for each in drawn(Mix(above=50)) if each.call.ordered_tokens > each.call.tokens]
    assert above
    assert {each.call.fault for each in above} == {None}


def test_most_calls_are_billed_less_than_their_reserve() -> None:
    less = [each for each in drawn(Mix()) if each.call.ordered_tokens < each.call.tokens]
    assert len(less) > 150
