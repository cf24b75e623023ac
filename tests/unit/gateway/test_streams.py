import orjson
import pytest

from gateway.dialects.streams import StreamFilter

FRAME = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06", "service_tier": "default"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


def event(**fields: object) -> bytes:
    return b"data: " + orjson.dumps({**FRAME, **fields}) + b"\n\n"


def delta(text: str) -> list[dict[str, object]]:
    return [{"index": 0, "delta": {"content": text}}]


ASKED_FOR_US = [
    event(choices=delta("a"), usage=None),
    event(choices=delta("b"), usage=None),
    event(choices=[], usage=USAGE),
    b"data: [DONE]\n\n",
]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_what_only_the_gateway_asked_for_is_taken_out_however_it_is_cut_up(size: int) -> None:
    relay = StreamFilter("openai", strips_usage=True)
    stream = b"".join(ASKED_FOR_US)
    passed = b"".join(relay.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + relay.finish()
    assert passed == event(choices=delta("a")) + event(choices=delta("b")) + b"data: [DONE]\n\n"
    assert relay.usage == USAGE
    assert relay.is_final


def test_a_caller_who_asked_for_usage_gets_the_stream_byte_for_byte() -> None:
    relay = StreamFilter("openai", strips_usage=False)
    stream = b"".join(ASKED_FOR_US)
    assert relay.feed(stream) + relay.finish() == stream
    assert relay.usage == USAGE


def test_usage_beside_content_loses_the_field_and_keeps_the_event() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    assert relay.feed(event(choices=delta("z"), usage=USAGE)) == event(choices=delta("z"))
    assert relay.usage == USAGE


def test_a_running_usage_is_the_whole_one_only_once_the_answer_has_ended() -> None:
    relay = StreamFilter("openai", strips_usage=False)
    relay.feed(event(choices=delta("a"), usage=USAGE))
    assert not relay.is_final
    relay.feed(event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE))
    assert relay.is_final


def test_a_stream_that_came_to_its_own_end_has_said_all_it_will() -> None:
    relay = StreamFilter("openai", strips_usage=False)
    relay.feed(event(choices=delta("a"), usage=USAGE))
    relay.is_whole = True
    assert relay.is_final


def test_the_word_usage_in_a_text_changes_nothing() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    said = event(choices=delta('see "usage":null in the docs'))
    assert relay.feed(said) == said
    assert relay.usage is None


def test_served_model_and_tier_come_from_the_stream() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    relay.feed(event(choices=delta("a")))
    assert (relay.model, relay.tier) == ("gpt-4o-2024-08-06", "default")


def test_a_broken_event_passes_as_it_is() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    broken = b'data: {"usage": [{"del\n\n'
    assert relay.feed(broken) == broken


def test_carriage_returns_are_kept() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    stream = b"".join(ASKED_FOR_US).replace(b"\n", b"\r\n")
    wanted = (event(choices=delta("a")) + event(choices=delta("b")) + b"data: [DONE]\n\n").replace(b"\n", b"\r\n")
    assert relay.feed(stream) == wanted


def test_anthropic_usage_is_what_the_stream_said_last() -> None:
    relay = StreamFilter("anthropic", strips_usage=False)
    start = {
        "type": "message_start",
        "message": {"model": "claude-x", "usage": {"input_tokens": 7, "output_tokens": 1}},
    }
    end = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}}
    stream = [b"event: x\ndata: " + orjson.dumps(each) + b"\n\n" for each in (start, end)]
    assert relay.feed(stream[0]) == stream[0]
    assert not relay.is_final
    relay.feed(stream[1])
    assert relay.usage == {"input_tokens": 7, "output_tokens": 40}
    assert relay.is_final


def test_output_is_guessed_from_deltas_and_from_their_bytes() -> None:
    relay = StreamFilter("openai", strips_usage=True)
    for text in ("one", "two", "a longer delta of forty bytes, more or less"):
        relay.feed(event(choices=delta(text)))
    assert relay.guessed_output() == 13  # 49 bytes


@pytest.mark.parametrize("later", [{}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": 9}])
def test_a_later_usage_that_says_less_takes_nothing_back(later: dict[str, int]) -> None:
    relay = StreamFilter("openai", strips_usage=False)
    relay.feed(event(choices=[], usage=USAGE) + event(choices=[], usage=later))
    assert relay.usage == USAGE


def test_a_later_count_of_anthropics_that_is_smaller_takes_nothing_back() -> None:
    relay = StreamFilter("anthropic", strips_usage=False)
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 25, "output_tokens": 1}}}
    delta = {"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 15}}
    relay.feed(b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in (start, delta)))
    assert relay.usage == {"input_tokens": 25, "output_tokens": 15}
