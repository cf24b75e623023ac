"""Whatever a provider does, the attempt ends in the books with what is known of it."""

import asyncio
from typing import Any

import httpx
import pytest
from anthropic import APIStatusError as AnthropicStatusError
from anthropic import AsyncAnthropic
from openai import APIStatusError, AsyncOpenAI

from farebox.events import RequestCompleted
from farebox.pricing import UsageSource
from farebox_local.ports import free_port
from support.eventually import eventually
from support.fake_budget import FakeAccount
from support.gateway import GatewayProcess, chat, published, settled
from support.provider import DemoProvider


async def the_event(kafka: str, user: str) -> RequestCompleted:
    (event,) = await published(kafka, 1, user=user)
    return event


def unknown_of(event: RequestCompleted) -> int:
    """What the provider may have billed beyond the charge."""
    assert event.held
    return event.held.uncertain.money


@pytest.mark.parametrize(("fault", "status"), [("http_500", 500), ("http_429", 429)])
async def test_a_refusal_of_the_provider_is_passed_on_and_costs_nothing(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount, fault: str, status: int
) -> None:
    answer = await chat(gateway, api_key, orders={"fault": fault})
    assert answer.status_code == status
    event = await the_event(kafka, user)
    assert (event.outcome, event.status, event.usage.total, event.usage.requests) == ("provider_error", status, 0, 0)
    account.recall()
    await eventually(lambda: account.held == 0)


async def test_a_provider_that_is_away_costs_nothing(start_gateway: Any, api_key: str, user: str, kafka: str) -> None:
    gateway = start_gateway(provider_url=f"http://127.0.0.1:{free_port()}")
    answer = await chat(gateway, api_key)
    assert answer.status_code == 502
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.requests, event.usage.total) == ("unreachable", 0, 0)


@pytest.mark.parametrize(("fault", "stream"), [("no_usage", False), ("no_usage", True), ("malformed", False)])
async def test_an_answer_without_usage_is_charged_an_estimate_and_the_rest_of_its_reserve_is_uncertain(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount, fault: str, stream: bool
) -> None:
    await chat(gateway, api_key, max_tokens=500, stream=stream, orders={"fault": fault})
    event = await the_event(kafka, user)
    assert event.usage.source is UsageSource.ESTIMATED
    assert 0 < event.usage.output < 500
    assert unknown_of(event) > 0
    account.recall()
    await eventually(lambda: account.held == settled([event]))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_cut_off_is_told_charged_at_what_was_seen_and_held_at_the_most(
    gateway: GatewayProcess,
    api_key: str,
    user: str,
    kafka: str,
    provider: DemoProvider,
    account: FakeAccount,
    stream: bool,
) -> None:
    answer = await chat(gateway, api_key, max_tokens=77, stream=stream, orders={"fault": "cut_before_usage"})
    assert '"upstream_unavailable"' in answer.text
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.source) == ("provider_error", UsageSource.ESTIMATED)
    assert event.held
    (line,) = provider.bill()
    assert event.held.settled.tokens >= line["prompt_tokens"] + line["completion_tokens"]
    assert unknown_of(event) > 0


@pytest.mark.parametrize("account", [{"measure": "requests"}], indirect=True)
async def test_a_call_is_one_request_however_little_is_known_of_it(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount
) -> None:
    await chat(gateway, api_key, orders={"fault": "no_usage"})
    event = await the_event(kafka, user)
    assert event.held
    assert (event.held.settled.requests, event.held.uncertain.requests) == (1, 0)


@pytest.mark.parametrize("account", [{"mode": "soft"}], indirect=True)
async def test_where_nothing_is_held_the_uncertain_amount_is_told_too(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount
) -> None:
    await chat(gateway, api_key, orders={"fault": "no_usage"})
    event = await the_event(kafka, user)
    assert event.held
    assert event.held.windows == ()
    assert unknown_of(event) > 0


async def test_a_provider_that_hangs_is_left_after_its_time(
    start_gateway: Any, api_key: str, user: str, kafka: str
) -> None:
    gateway = start_gateway(upstream={"timeout_s": 0.3})
    answer = await chat(gateway, api_key, orders={"fault": "hang"})
    assert answer.status_code == 504
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.source) == ("timeout", UsageSource.ESTIMATED)
    assert unknown_of(event) > 0


async def hang_up(gateway: GatewayProcess, api_key: str, *, tokens: int, delay_ms: int) -> None:
    """A stream whose caller goes after its first bytes."""
    headers = {"x-demo-completion-tokens": str(tokens), "x-demo-chunk-delay-ms": str(delay_ms)}
    async with gateway.client(api_key) as client:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": True}
        async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            await anext(answer.aiter_bytes())


async def test_a_stream_that_is_about_to_end_is_read_for_its_usage_when_its_caller_has_gone(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount
) -> None:
    await hang_up(gateway, api_key, tokens=20, delay_ms=10)
    event = await the_event(kafka, user)
    assert event.outcome == "client_disconnected"
    assert (event.usage.source, event.usage.output) == (UsageSource.REPORTED, 20)
    assert unknown_of(event) == 0


async def test_any_other_is_cancelled_and_charged_an_estimate_of_what_came(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount
) -> None:
    await hang_up(gateway, api_key, tokens=200, delay_ms=100)
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.source) == ("client_disconnected", UsageSource.ESTIMATED)
    assert 0 < event.usage.output < 200
    assert unknown_of(event) > 0
    account.recall()
    await eventually(lambda: account.held == settled([event]))


async def test_an_upstream_may_be_left_to_finish(start_gateway: Any, api_key: str, user: str, kafka: str) -> None:
    gateway = start_gateway(upstream={"on_disconnect": "finish"})
    await hang_up(gateway, api_key, tokens=40, delay_ms=100)
    event = await the_event(kafka, user)
    assert event.outcome == "client_disconnected"
    assert (event.usage.source, event.usage.output) == (UsageSource.REPORTED, 40)


async def test_it_is_not_read_for_ever(start_gateway: Any, api_key: str, user: str, kafka: str) -> None:
    gateway = start_gateway(drain_s="0.2", upstream={"on_disconnect": "finish"})
    await hang_up(gateway, api_key, tokens=1000, delay_ms=100)
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.source) == ("client_disconnected", UsageSource.ESTIMATED)
    assert unknown_of(event) > 0


async def test_a_stream_that_has_not_begun_when_its_caller_goes_is_cancelled_too(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount, provider: DemoProvider
) -> None:
    call = asyncio.create_task(chat(gateway, api_key, stream=True, orders={"fault": "hang"}))
    await eventually(lambda: len(provider.bill()) == 1)
    call.cancel()
    event = await the_event(kafka, user)
    assert (event.outcome, event.usage.source) == ("client_disconnected", UsageSource.ESTIMATED)
    assert unknown_of(event) > 0


@pytest.mark.parametrize(("fault", "status"), [("cut_before_usage", 502), ("hang", 504)])
async def test_an_sdk_buys_no_second_answer_where_the_first_may_have_been_billed(
    start_gateway: Any, api_key: str, provider: DemoProvider, fault: str, status: int
) -> None:
    gateway = start_gateway(upstream={"timeout_s": 0.3})
    provider.control(fault=fault)
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key) as openai:
        with pytest.raises(APIStatusError) as told:
            await openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    async with AsyncAnthropic(base_url=gateway.url, api_key=api_key) as anthropic:
        with pytest.raises(AnthropicStatusError) as said:
            await anthropic.messages.create(
                model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "x"}]
            )
    assert {told.value.status_code, said.value.status_code} == {status}
    assert len(provider.bill()) == 2


async def test_a_provider_that_locks_us_out_is_not_the_callers_401(
    start_gateway: Any, api_key: str, user: str, kafka: str
) -> None:
    gateway = start_gateway(upstream={"api_key_file": None})
    answer = await chat(gateway, api_key)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unauthorized"


async def test_nothing_is_left_under_way(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, account: FakeAccount
) -> None:
    faults = ["http_500", "cut_before_usage", "no_usage", "malformed"]
    await asyncio.gather(
        *(chat(gateway, api_key, stream=s, orders={"fault": f}) for f in faults for s in (True, False))
    )

    async def idle() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            metrics = (await client.get(f"{gateway.ops_url}/metrics")).text
        return "farebox_gateway_calls_under_way 0.0" in metrics

    await eventually(idle)
    account.recall()
    events = await published(kafka, 8, user=user)
    await eventually(lambda: account.held == settled(events))
