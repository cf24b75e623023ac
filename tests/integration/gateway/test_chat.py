import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, PermissionDeniedError
from openai.types.chat import ChatCompletionMessageParam

from support.eventually import eventually
from support.fake_budget import FakeAccount
from support.gateway import GatewayProcess, chat, published
from support.provider import DemoProvider

JSON = {"content-type": "application/json"}
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Xin chào, bạn khỏe không?"}]


@pytest.fixture
async def openai(gateway: GatewayProcess, api_key: str, account: FakeAccount) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key) as client:
        yield client


async def test_an_unchanged_sdk_gets_its_answer_and_kafka_the_event(
    openai: AsyncOpenAI, user: str, kafka: str, provider: DemoProvider
) -> None:
    answer = await openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=50)
    (event,) = await published(kafka, 1, user=user)
    (line,) = provider.bill()
    assert line["request_id"] == str(event.attempt_id)
    assert (event.usage.input, event.usage.output) == (line["prompt_tokens"], line["completion_tokens"])
    assert answer.usage
    assert answer.usage.completion_tokens == event.usage.output


async def test_a_stream_comes_through_and_is_accounted(
    openai: AsyncOpenAI, user: str, kafka: str, provider: DemoProvider
) -> None:
    stream = await openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    (event,) = await published(kafka, 1, user=user)
    assert event.streamed
    assert event.ttft_ms is not None
    assert event.usage.output == provider.bill()[0]["completion_tokens"] == 32


async def test_a_caller_who_asks_for_the_streams_usage_gets_it(openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 32


async def test_anthropics_sdk_works_too(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, provider: DemoProvider, account: FakeAccount
) -> None:
    asked = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    async with AsyncAnthropic(base_url=gateway.url, api_key=api_key) as client:
        answer = await client.messages.create(**asked)  # type: ignore[call-overload]
        async with client.messages.stream(**asked) as stream:  # type: ignore[arg-type]
            streamed = await stream.get_final_message()
    assert answer.usage.output_tokens == streamed.usage.output_tokens == 20
    events = await published(kafka, 2, user=user)
    assert {event.streamed for event in events} == {False, True}
    assert [event.usage.output for event in events] == [line["completion_tokens"] for line in provider.bill()]


async def test_what_a_call_did_not_use_goes_back(gateway: GatewayProcess, api_key: str, account: FakeAccount) -> None:
    answer = await chat(gateway, api_key)
    cost = round(float(answer.headers["x-farebox-cost"]) * 1e9)
    assert answer.headers["x-farebox-currency"] == "USD"
    assert cost > 0
    account.recall()
    await eventually(lambda: account.held == cost)


async def test_the_remaining_balance_is_told(gateway: GatewayProcess, api_key: str, account: FakeAccount) -> None:
    answer = await chat(gateway, api_key)
    cost, remaining = (float(answer.headers[f"x-farebox-{name}"]) for name in ("cost", "balance-remaining"))
    assert remaining == pytest.approx(account.limit / 1e9 - cost)


@pytest.mark.parametrize("account", [{"mode": "soft"}], indirect=True)
async def test_the_balance_of_a_soft_budget_falls_with_every_call(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    answers = [await chat(gateway, api_key) for _ in range(3)]
    left = [Decimal(answer.headers["x-farebox-balance-remaining"]) for answer in answers]
    costs = [Decimal(answer.headers["x-farebox-cost"]) for answer in answers]
    assert [account.limit / Decimal(10**9) - sum(costs[: n + 1]) for n in range(3)] == left


@pytest.mark.parametrize("account", [{"limit": 2_500_000}], indirect=True)
async def test_an_empty_budget_refuses_until_it_is_raised(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    refused = await chat(gateway, api_key, max_tokens=1000)
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "budget_exceeded"
    account.raise_to(10**9)
    assert (await chat(gateway, api_key, max_tokens=1000)).status_code == 200


@pytest.mark.parametrize("account", [{"limit": 2_500_000}], indirect=True)
async def test_a_small_balance_is_not_refused_for_the_white_space_of_the_json(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    wordy = '{"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": "ch\\u00e0o"}]}'
    body = wordy.replace(" ", 900 * " ")
    async with gateway.client(api_key) as client:
        answers = [await client.post("/v1/chat/completions", content=body, headers=JSON) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("account", [{"limit": 2_500_000, "clamp": True}], indirect=True)
async def test_an_account_that_allows_it_has_its_call_cut_to_what_is_left(
    gateway: GatewayProcess, api_key: str, provider: DemoProvider, account: FakeAccount
) -> None:
    answer = await chat(gateway, api_key, max_tokens=4000, orders={"completion-tokens": "4000"})
    assert answer.status_code == 200
    assert 16 < provider.bill()[0]["completion_tokens"] < 250
    assert float(answer.headers["x-farebox-cost"]) <= 0.0025


@pytest.mark.parametrize("account", [{"clamp": True}], indirect=True)
async def test_a_call_is_not_cut_to_the_share_in_hand_while_more_is_to_be_had(
    gateway: GatewayProcess, api_key: str, provider: DemoProvider, account: FakeAccount
) -> None:
    await chat(gateway, api_key, max_tokens=20)
    await chat(gateway, api_key, max_tokens=8000, orders={"completion-tokens": "8000"})
    assert [line["completion_tokens"] for line in provider.bill()] == [20, 8000]


@pytest.mark.parametrize("account", [{"limit": 10**9, "idle_elsewhere": 10**9}], indirect=True)
async def test_a_call_waits_for_what_lies_idle_elsewhere_instead_of_being_refused(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    assert (await chat(gateway, api_key)).status_code == 200
    assert len(account.asks) >= 2


@pytest.mark.parametrize(
    ("account", "rights_elsewhere"),
    [({"limit": 1_000}, "none"), ({"limit": 10**9, "used_elsewhere": 10**9}, "recalled")],
    indirect=["account"],
    ids=["spent", "held"],
)
async def test_a_final_refusal_is_counted_by_whether_others_had_rights_to_give_back(
    gateway: GatewayProcess, api_key: str, account: FakeAccount, rights_elsewhere: str
) -> None:
    def counted() -> list[float]:
        name = "farebox_gateway_budget_refusals_total"
        return [gateway.metric(name, rights_elsewhere=each) for each in ("none", "recalled")]

    none, recalled = counted()
    answers = await asyncio.gather(*(chat(gateway, api_key) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {402}
    assert counted() == ([none + 3, recalled] if rights_elsewhere == "none" else [none, recalled + 3])


@pytest.mark.parametrize("account", [{"limit": 10, "mode": "soft"}], indirect=True)
async def test_a_soft_budget_never_refuses(gateway: GatewayProcess, api_key: str, account: FakeAccount) -> None:
    assert (await chat(gateway, api_key)).status_code == 200
    assert account.shares == []


async def test_a_burst_asks_once_and_not_once_a_call(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    answers = await asyncio.gather(*(chat(gateway, api_key, max_tokens=10) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(account.asks) < 10


@pytest.mark.parametrize("blocked", ["gpt-4o", "GPT-4O", "gpt-4o-2024-08-06"])
async def test_a_model_that_is_not_allowed_is_refused_by_whatever_name_the_list_has_it(
    gateway: GatewayProcess, api_key: str, account: FakeAccount, blocked: str
) -> None:
    account.set(blocked_models=(blocked,))
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key) as client:
        with pytest.raises(PermissionDeniedError):
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        listed = [model.id async for model in client.models.list()]
    assert "gpt-4o" not in listed
    assert "gpt-4o-mini" in listed


async def test_a_revoked_key_is_refused_once_its_policy_is_old(
    gateway: GatewayProcess, api_key: str, account: FakeAccount
) -> None:
    account.fresh_for_ms = 200
    assert (await chat(gateway, api_key)).status_code == 200
    account.revoke()

    async def refused() -> bool:
        return (await chat(gateway, api_key)).status_code == 401

    await eventually(refused)
