"""The demo provider, seen through the official SDKs."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from support.provider import DemoProvider

ASK: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does this cost?"}]}
CLAUDE: Any = {**ASK, "model": "claude-haiku-4-5", "max_tokens": 100}


@pytest.fixture
async def chat(provider: DemoProvider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="sk-demo", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def claude(provider: DemoProvider) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=provider.url, api_key="sk-demo", max_retries=0, timeout=10) as client:
        yield client


async def test_openai_answer_states_the_tokens_that_were_billed(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    orders = {"demo_prompt_tokens": "500", "demo_completion_tokens": "300", "demo_cached_tokens": "40"}
    answer = await chat.chat.completions.create(**ASK, metadata=orders)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (500, 300)
    [line] = provider.bill()
    assert (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"]) == (500, 40, 300)
    assert (line["model"], line["dialect"], line["stream"], line["status"]) == ("gpt-4o-mini", "openai", False, 200)


async def test_without_orders_four_bytes_are_a_token(chat: AsyncOpenAI) -> None:
    answer = await chat.chat.completions.create(**ASK)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 32)
    assert len((answer.choices[0].message.content or "").split()) == 32


async def test_max_tokens_bounds_every_choice(chat: AsyncOpenAI) -> None:
    answer = await chat.chat.completions.create(**ASK, n=3, max_completion_tokens=7)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 21
    assert {choice.finish_reason for choice in answer.choices} == {"length"}


async def test_openai_stream_ends_with_the_usage_when_asked(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    stream = await chat.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 32 == provider.bill()[0]["completion_tokens"]


async def test_openai_stream_has_no_usage_unless_asked(chat: AsyncOpenAI) -> None:
    stream = await chat.chat.completions.create(**ASK, stream=True)
    assert [chunk.usage async for chunk in stream if chunk.usage or not chunk.choices] == []


async def test_anthropic_input_excludes_cache_reads(claude: AsyncAnthropic, provider: DemoProvider) -> None:
    orders = {"x-demo-prompt-tokens": "500", "x-demo-cached-tokens": "40"}
    answer = await claude.messages.create(**CLAUDE, extra_headers={**orders, "x-farebox-attempt": "attempt-1"})
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (460, 40)
    [line] = provider.bill()
    assert (line["prompt_tokens"], line["dialect"], line["request_id"]) == (500, "anthropic", "attempt-1")


async def test_anthropic_stream_states_usage_at_start_and_end(claude: AsyncAnthropic) -> None:
    async with claude.messages.stream(**CLAUDE) as stream:
        message = await stream.get_final_message()
    assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 32)
    assert message.stop_reason == "end_turn"


async def test_a_stream_cut_before_its_usage_is_billed(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    provider.control(fault="cut_before_usage")
    stream = await chat.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    with pytest.raises(openai.APIConnectionError):
        assert [chunk.usage async for chunk in stream if chunk.usage] == []
    assert provider.bill()[0]["completion_tokens"] == 32


async def test_a_caller_that_hangs_up_is_billed(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    provider.control(chunk_delay_ms=100)
    async with await chat.chat.completions.create(**ASK, stream=True) as stream:
        await anext(aiter(stream))
    assert provider.bill()[0]["completion_tokens"] == 32


async def test_an_answer_that_never_comes_is_billed(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    provider.control(fault="hang")
    with pytest.raises(openai.APITimeoutError):
        await chat.with_options(timeout=0.3).chat.completions.create(**ASK)
    assert provider.bill()[0]["status"] == 200


async def test_usage_can_be_missing_from_a_billed_answer(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    provider.control(fault="no_usage")
    assert (await chat.chat.completions.create(**ASK)).usage is None
    assert provider.bill()[0]["completion_tokens"] == 32


async def test_a_malformed_answer_is_billed(provider: DemoProvider) -> None:
    provider.control(fault="malformed")
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{provider.url}/v1/chat/completions", json=ASK, headers={"x-api-key": "sk"})
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert provider.bill()[0]["completion_tokens"] == 32


async def test_refusals_cost_nothing_and_end_after_their_number(chat: AsyncOpenAI, provider: DemoProvider) -> None:
    provider.control(fault="http_429", fault_times=1)
    with pytest.raises(openai.RateLimitError):
        await chat.chat.completions.create(**ASK)
    await chat.chat.completions.create(**ASK)
    assert [(line["status"], line["completion_tokens"]) for line in provider.bill()] == [(429, 0), (200, 32)]


@pytest.mark.parametrize("key", ["", "fbx_of-the-caller"])
async def test_a_missing_or_farebox_key_is_refused(provider: DemoProvider, key: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{provider.url}/v1/chat/completions", json=ASK, headers={"x-api-key": key})
    assert answer.status_code == 401
    assert provider.bill() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {**ASK, "max_tokens": 0},
        {**ASK, "metadata": {"demo_prompt_tokens": "many"}},
        {**ASK, "metadata": {"demo_promt_tokens": "5"}},
    ],
)
async def test_a_wrong_request_is_refused(provider: DemoProvider, wrong: dict[str, object]) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{provider.url}/v1/chat/completions", json=wrong, headers={"x-api-key": "sk"})
    assert answer.status_code == 400
    assert provider.bill() == []
