"""What one provider takes beside the fields of its dialect, by its id in the price catalogue.

Sources: the providers' API references. What is left out on purpose, because no bound can be read from the body, is
refused under hard budgets as any unknown field is: OpenRouter's presets and its choice among dearer hosts of a model,
xAI's deferred answers, Azure's own data sources, tools that providers run themselves.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway.dialects import anthropic, openai
from gateway.dialects.content import Image
from gateway.dialects.findings import Findings
from gateway.dialects.media import document_elsewhere, picture_url, reference
from gateway.dialects.models import candidates
from gateway.dialects.openai import EXTRA, searches
from gateway.dialects.path import Path
from gateway.dialects.table import Kinds, Shape, joined, plain, shape
from gateway.upstreams.directory import Dialect

_NOTHING: Final = shape()
_NO_KINDS: Final[Mapping[str | None, Shape]] = MappingProxyType({})
_ROUTERS: Final = frozenset(
    f"openrouter/{name}" for name in ("auto", "auto-beta", "bodybuilder", "free", "fusion", "pareto-code")
)


class Layer(NamedTuple):
    """Fields of the body and of a message, parts of a content, and tools."""

    body: Shape = _NOTHING
    message: Shape = _NOTHING
    parts: Mapping[str | None, Shape] = _NO_KINDS
    tools: Mapping[str | None, Shape] = _NO_KINDS


def _routed_model(value: Any, path: Path, found: Findings) -> None:
    """OpenRouter reads more than a name: `:online` searches, a preset or a router chooses among models."""
    if not isinstance(value, str):
        return
    found.searches |= ":online" in value
    if "@preset/" in value or value in _ROUTERS:
        found.is_unbounded(path, value)


def _routed_models(value: Any, path: Path, found: Findings) -> None:
    candidates(value, path, found)
    for index, each in enumerate(value):
        _routed_model(each, (path, index), found)


def _route(value: Any, path: Path, found: Findings) -> None:
    if value != "fallback":
        found.is_unbounded(path, value)


def _picture_or_file(value: Any, path: Path, found: Findings) -> None:
    """Behind a URL Gemini takes any medium."""
    before = len(found.media)
    picture_url(value, path, found)
    found.references += sum(isinstance(each, Image) and each.inline_bytes is None for each in found.media[before:])


_THINKING: Final = shape(harmless=plain("thinking user_id request_id"))
_OPENROUTER: Final = shape(
    harmless=plain("debug include_reasoning reasoning session_id structured_outputs trace transforms usage")
    | {
        "provider": shape(
            harmless=plain("allow_fallbacks data_collection enforce_distillable_text max_price require_parameters zdr")
        )
    },
    priced={
        "plugins": Kinds(
            {
                "response-healing": shape(harmless=plain("id enabled")),
                "web": shape(
                    harmless=plain("id enabled engine exclude_domains include_domains max_results search_prompt"),
                    reads=searches,
                ),
            },
            by="id",
        )
    },
    answering={"model": _routed_model, "models": _routed_models, "route": _route},
)
_GOOGLE: Final = shape(
    harmless=plain("safety_settings thinking_config thought_tag_marker"), bounded={"cached_content": reference}
)
_ZAI: Final = Layer(joined(_THINKING, shape(harmless=plain("do_sample tool_stream"))))
_LAYERS: Final[Mapping[tuple[Dialect, str], Layer]] = {
    ("anthropic", "openrouter"): Layer(_OPENROUTER),
    ("openai", "anthropic"): Layer(_THINKING),
    ("openai", "azure"): Layer(shape(harmless=plain("user_security_context"))),
    ("openai", "deepseek"): Layer(_THINKING, shape(harmless=plain("prefix"))),
    ("openai", "fireworks"): Layer(
        shape(
            harmless=plain(
                "context_length_exceeded_behavior ignore_eos perf_metrics_in_response prompt_cache_isolation_key"
                " prompt_truncate_len raw_output reasoning_history thinking"
            )
        )
    ),
    ("openai", "google"): Layer(
        shape(bounded={"google": _GOOGLE, "extra_body": shape(bounded={"google": _GOOGLE})}),
        shape(harmless=plain("extra_content")),
        {
            "image_url": shape(
                harmless=plain("type"),
                bounded={"image_url": shape(harmless=plain("url detail"), reads=_picture_or_file)},
                priced=EXTRA,
            )
        },
    ),
    ("openai", "groq"): Layer(
        shape(
            harmless=plain("citation_options disable_tool_validation include_reasoning reasoning_format"),
            priced=dict.fromkeys(("exclude_domains", "include_domains", "search_settings"), searches),
        )
    ),
    ("openai", "minimax"): Layer(shape(harmless=plain("reasoning_split"))),
    ("openai", "mistral"): Layer(
        shape(harmless=plain("document_image_limit document_page_limit prompt_mode random_seed safe_prompt")),
        shape(harmless=plain("prefix")),
        {
            "document_url": shape(
                harmless=plain("type document_name"), bounded={"document_url": document_elsewhere}, priced=EXTRA
            ),
            "reference": shape(harmless=plain("type reference_ids")),
            "thinking": shape(harmless=plain("type thinking closed")),
        },
    ),
    ("openai", "moonshotai"): Layer(_THINKING, shape(harmless=plain("partial"))),
    ("openai", "openrouter"): Layer(_OPENROUTER),
    ("openai", "perplexity"): Layer(
        shape(
            harmless=plain(
                "disable_search enable_search_classifier image_domain_filter image_format_filter language_preference"
                " last_updated_after_filter last_updated_before_filter return_images return_related_questions"
                " search_after_date_filter search_before_date_filter search_domain_filter search_language_filter"
                " search_mode search_recency_filter"
            ),
            answering={"model": searches},
        )
    ),
    ("openai", "together"): Layer(shape(harmless=plain("context_length_exceeded_behavior reasoning"))),
    ("openai", "x-ai"): Layer(shape(priced={"search_parameters": searches})),
    ("openai", "zai"): _ZAI,
    ("openai", "zhipuai"): _ZAI,
}


@lru_cache(maxsize=1024)
def table_of(dialect: Dialect, provider: str) -> Shape:
    """The fields of a body in this dialect at this provider."""
    layer = _LAYERS.get((dialect, provider.lower()), Layer())
    if dialect == "anthropic":
        return joined(anthropic.BODY, layer.body)
    return openai.table(*layer)
