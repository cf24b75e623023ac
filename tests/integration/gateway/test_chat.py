import httpx
from openai import AsyncOpenAI

from support.eventually import eventually
from support.fake_budget import FakeBudget
from support.gateway import GatewayProcess, published
from support.provider import DemoProvider

MESSAGES = [{"role": "user", "content": "Xin chào, bạn khỏe không?"}]


def sdk(gateway: GatewayProcess, api_key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key, http_client=httpx.AsyncClient(trust_env=False))


async def test_an_unchanged_sdk_gets_its_answer_and_kafka_the_event(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, provider: DemoProvider
) -> None:
    async with sdk(gateway, api_key) as client:
        answer = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=50)  # type: ignore[call-overload]
    (event,) = (await published(kafka, 1, user=user)).values()
    (line,) = provider.bill()
    assert line["request_id"] == str(event.attempt_id)
    assert (event.usage.input, event.usage.output) == (line["prompt_tokens"], line["completion_tokens"])
    assert answer.usage.completion_tokens == event.usage.output


async def test_a_stream_comes_through_and_is_accounted(
    gateway: GatewayProcess, api_key: str, user: str, kafka: str, provider: DemoProvider
) -> None:
    async with sdk(gateway, api_key) as client:
        stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)  # type: ignore[call-overload]
        chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    (event,) = (await published(kafka, 1, user=user)).values()
    assert event.streamed
    assert event.ttft_ms is not None
    assert event.usage.output == provider.bill()[0]["completion_tokens"] == 32


async def test_what_a_call_did_not_use_is_in_the_lease_again(
    gateway: GatewayProcess, api_key: str, budget: FakeBudget
) -> None:
    async with gateway.client(api_key) as client:
        answer = await client.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": MESSAGES})
    assert answer.status_code == 200, answer.text
    cost = round(float(answer.headers["x-farebox-cost"]) * 1e9)
    await eventually(lambda: sum(share.spent for share in budget.shares.values()) == cost)
    await eventually(lambda: sum(share.held for share in budget.shares.values()) == cost)
