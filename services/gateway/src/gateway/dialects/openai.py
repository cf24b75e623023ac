"""OpenAI's chat completions: what every field of the body can do to the bill.

Sources: the parameter types of OpenAI's SDK, which a test compares with this table, and its API reference. Beside
OpenAI's own fields stand those that nearly every server of the dialect takes; what one provider alone takes is in
`gateway.dialects.providers`.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.dialects.findings import Findings
from gateway.dialects.media import earlier_sound, file, film, picture_url, sound
from gateway.dialects.path import Path
from gateway.dialects.table import Kinds, Shape, joined, plain, shape
from gateway.dialects.tools import callers_own

_FREE_MODERATION: Final = ("omni-moderation", "text-moderation")


def searches(_value: Any, _path: Path, found: Findings) -> None:
    """A field by which the provider searches the web for the answer."""
    found.searches = True


def speaks(_value: Any, _path: Path, found: Findings) -> None:
    """`audio`: how the answer is to be spoken."""
    found.makes.add("audio")


def modalities(value: Any, _path: Path, found: Findings) -> None:
    """What the answer is made of. Each is a text; what is none, the provider refuses."""
    if isinstance(value, list):
        found.makes.update(each for each in value if isinstance(each, str) and each != "text")


def predicts(_value: Any, _path: Path, found: Findings) -> None:
    """A predicted answer: what of it is not used is billed as output."""
    found.predicts = True


def moderator(value: Any, path: Path, found: Findings) -> None:
    """A further model. OpenAI's moderation models are free."""
    if not isinstance(value, str) or not value.startswith(_FREE_MODERATION):
        found.is_unbounded(path)


EXTRA: Final = plain("prompt_cache_breakpoint cache_control")
"""Of every part of a content."""

TEXT: Final = shape(harmless=plain("type text annotations"), priced=EXTRA)
PARTS: Final[dict[str | None, Shape]] = {
    "text": TEXT,
    "refusal": shape(harmless=plain("type refusal"), priced=EXTRA),
    "image_url": shape(
        harmless=plain("type"),
        bounded={"image_url": shape(harmless=plain("url detail format"), reads=picture_url)},
        priced=EXTRA,
    ),
    "input_audio": shape(
        harmless=plain("type"),
        bounded={"input_audio": shape(harmless=plain("data format"), reads=sound)},
        priced=EXTRA,
    ),
    "file": shape(
        harmless=plain("type"),
        bounded={"file": shape(harmless=plain("file_data file_id filename format"), reads=file)},
        priced=EXTRA,
    ),
    "video_url": shape(
        harmless=plain("type"),
        bounded={"video_url": shape(harmless=plain("url"), reads=film)},
        priced=EXTRA,
    ),
}
MESSAGE: Final = shape(
    harmless=plain(
        "role name refusal tool_call_id tool_calls function_call annotations"
        " reasoning reasoning_content reasoning_details"  # what others answer with comes back in the next call
    ),
    bounded={"audio": shape(harmless=plain("id data expires_at transcript"), reads=earlier_sound)},
    priced=plain("cache_control"),
)
FUNCTION: Final = shape(harmless=plain("name description parameters strict"))
TOOLS: Final[dict[str | None, Shape]] = {
    "function": shape(
        harmless=plain("type"), bounded={"function": FUNCTION}, priced=plain("cache_control"), reads=callers_own
    ),
    "custom": shape(
        harmless=plain("type"),
        bounded={"custom": shape(harmless=plain("name description format"))},
        reads=callers_own,
    ),
}
BODY: Final = shape(
    harmless=plain(
        "model frequency_penalty logit_bias logprobs metadata parallel_tool_calls presence_penalty prompt_cache_key"
        " prompt_cache_retention reasoning_effort response_format safety_identifier seed stop store stream temperature"
        " tool_choice function_call top_logprobs top_p user verbosity"
        " top_k top_a min_p repetition_penalty min_tokens"
    )
    | {"stream_options": shape(harmless=plain("include_usage include_obfuscation"))},
    bounded=plain("n max_tokens max_completion_tokens")
    | {
        "functions": shape(harmless=plain("name description parameters"), reads=callers_own),
        "prediction": shape(harmless=plain("type"), bounded={"content": Kinds({"text": TEXT})}, reads=predicts),
    },
    priced=plain("service_tier")
    | {
        "audio": shape(harmless=plain("format voice"), reads=speaks),
        "modalities": modalities,
        "moderation": shape(harmless=plain("policy"), answering={"model": moderator}),
        "prompt_cache_options": shape(harmless=plain("mode ttl")),
        "web_search_options": shape(harmless=plain("search_context_size user_location"), reads=searches),
    },
)


def table(body: Shape, message: Shape, parts: Mapping[str | None, Shape], tools: Mapping[str | None, Shape]) -> Shape:
    """The whole table, with what a provider's layer adds."""
    content = Kinds({**PARTS, **parts})
    whole = shape(
        bounded={
            "messages": joined(joined(MESSAGE, message), shape(bounded={"content": content, "images": content})),
            "tools": Kinds({**TOOLS, **tools}),
        }
    )
    return joined(joined(BODY, body), whole)
