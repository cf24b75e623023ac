"""Anthropic's messages: what every field of the body can do to the bill.

Sources: the parameter types of Anthropic's SDK, stable and beta, which a test compares with this table, and its API
reference. What a beta adds that has no bound stays out: compaction runs the model once more, a thread holds earlier
turns that are not in the body, and so they are refused under hard budgets.
"""

from typing import Any, Final

from gateway.dialects.findings import Findings
from gateway.dialects.media import (
    document_data,
    document_elsewhere,
    picture_data,
    picture_elsewhere,
    reference,
)
from gateway.dialects.models import candidate
from gateway.dialects.path import Path
from gateway.dialects.table import Inner, Kinds, Reader, Shape, plain, shape
from gateway.dialects.tools import callers_own, remote_servers, vendors, web_search


def fallbacks(value: Any, path: Path, found: Findings) -> None:
    """`"default"` leaves the models to Anthropic."""
    if isinstance(value, str):
        found.is_unbounded(path, value)


def advisor(value: Any, path: Path, found: Findings) -> None:
    """A further model answers the first one's questions, and is billed apart."""
    candidate(value.get("model"), (path, "model"), found)
    found.is_unbounded(path, value["type"])


CACHED: Final = plain("cache_control")
SOURCE_BASE64: Final = "type data media_type"
PICTURE: Final = Kinds(
    {
        "base64": shape(harmless=plain(SOURCE_BASE64), reads=picture_data),
        "url": shape(harmless=plain("type url"), reads=picture_elsewhere),
        "file": shape(harmless=plain("type file_id"), reads=picture_elsewhere),
    }
)


def block(harmless: str, **bounded: Inner) -> Shape:
    """A block of content; any may ask for the cache to be written up to it."""
    return shape(harmless=plain(f"type {harmless}"), bounded=bounded, priced=CACHED)


TEXT: Final = block("text citations")
IMAGE: Final = block("transformations", source=PICTURE)
SEARCH_RESULT: Final = block("source title citations", content=Kinds({"text": TEXT}))
DOCUMENT: Final = block(
    "citations context title",
    source=Kinds(
        {
            "base64": shape(harmless=plain(SOURCE_BASE64), reads=document_data),
            "text": shape(harmless=plain(SOURCE_BASE64)),
            "content": shape(harmless=plain("type"), bounded={"content": Kinds({"text": TEXT, "image": IMAGE})}),
            "url": shape(harmless=plain("type url"), reads=document_elsewhere),
            "file": shape(harmless=plain("type file_id"), reads=document_elsewhere),
        }
    ),
)
TOOL_REFERENCE: Final = block("tool_name")
TOOL_RESULT: Final = block(
    "tool_use_id is_error toolset_name",
    content=Kinds(
        {
            "text": TEXT,
            "image": IMAGE,
            "search_result": SEARCH_RESULT,
            "document": DOCUMENT,
            "tool_reference": TOOL_REFERENCE,
            "browser_state": block("tabs state_changes"),
        }
    ),
)
WEB_FETCHED: Final = Kinds(
    {
        "web_fetch_result": shape(
            harmless=plain("type url retrieved_at"), bounded={"content": Kinds({"document": DOCUMENT})}
        ),
        "web_fetch_tool_result_error": shape(harmless=plain("type error_code")),
    }
)
RAN: Final = shape(harmless=plain("type content return_code stdout stderr encrypted_stdout error_code error_message"))
"""What code printed, and the ids of files it left in its container, which are not read by being named."""

USED: Final = "id input name caller toolset_name"
RESULT: Final = "tool_use_id caller"
_EDITED: Final = "error_code error_message content file_type num_lines start_line total_lines is_file_update"

VENDOR: Final = "type name allowed_callers cache_control defer_loading input_examples strict"
"""Fields of most tools that the vendor defines."""


def vendor_tool(more: str = "", bounded: str = "", reads: Reader = vendors) -> Shape:
    """A tool that the vendor defines."""
    return shape(harmless=plain(f"{VENDOR} {more}"), bounded=plain(bounded), reads=reads)


CUSTOM: Final = shape(
    harmless=plain(f"{VENDOR} description input_schema eager_input_streaming"),
    reads=callers_own,
)
SEARCH: Final = vendor_tool("allowed_domains blocked_domains user_location response_inclusion", "max_uses", web_search)
FETCH: Final = vendor_tool(
    "allowed_domains blocked_domains citations url_sources use_cache response_inclusion", "max_uses max_content_tokens"
)
SCREEN: Final = vendor_tool("display_height_px display_width_px display_number enable_zoom")
TOOLS: Final[dict[str | None, Shape]] = {
    None: CUSTOM,
    "custom": CUSTOM,
    **dict.fromkeys(("web_search_20250305", "web_search_20260209", "web_search_20260318"), SEARCH),
    **dict.fromkeys(
        ("web_fetch_20250910", "web_fetch_20260209", "web_fetch_20260309", "web_fetch_20260318"), FETCH
    ),
    **dict.fromkeys(("computer_20241022", "computer_20250124", "computer_20251124"), SCREEN),
    **dict.fromkeys(
        (
            "bash_20241022",
            "bash_20250124",
            "code_execution_20250522",
            "code_execution_20250825",
            "code_execution_20260120",
            "code_execution_20260521",
            "memory_20250818",
            "text_editor_20241022",
            "text_editor_20250124",
            "text_editor_20250429",
            "text_editor_20250728",
            "tool_search_tool_bm25",
            "tool_search_tool_bm25_20251119",
            "tool_search_tool_regex",
            "tool_search_tool_regex_20251119",
        ),
        vendor_tool("max_characters"),
    ),
    **dict.fromkeys(("browser_toolset_20260801", "computer_toolset_20260801"), vendor_tool("configs")),
    "mcp_toolset": vendor_tool("mcp_server_name configs default_config tools"),
    "advisor_20260301": shape(
        harmless=plain(f"{VENDOR} caching"), bounded=plain("max_uses max_tokens"), answering=plain("model"),
        reads=advisor,
    ),
}  # fmt: skip
OFFERED: Final = Kinds(TOOLS)
CHANGED: Final = Kinds(
    {
        "tool_reference": shape(harmless=plain("type name")),
        "mcp_tool_reference": shape(harmless=plain("type name server_name")),
        "mcp_toolset_reference": shape(harmless=plain("type server_name")),
        "tool_definition": shape(harmless=plain("type"), bounded={"definition": OFFERED}),
    }
)
CHANGES: Final[dict[str | None, Shape]] = {
    "tool_addition": block("", tool=CHANGED),
    "tool_removal": block("", tool=CHANGED),
}
BLOCKS: Final[dict[str | None, Shape]] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "search_result": SEARCH_RESULT,
    "thinking": block("thinking signature"),
    "redacted_thinking": block("data"),
    "tool_use": block(USED),
    "tool_result": TOOL_RESULT,
    "server_tool_use": block(USED),
    "web_search_tool_result": block(
        RESULT,
        content=Kinds(
            {
                "web_search_result": shape(harmless=plain("type encrypted_content title url page_age")),
                "web_search_tool_result_error": shape(harmless=plain("type error_code")),
            }
        ),
    ),
    "web_fetch_tool_result": block(RESULT, content=WEB_FETCHED),
    "code_execution_tool_result": block(RESULT, content=RAN),
    "bash_code_execution_tool_result": block(RESULT, content=RAN),
    "text_editor_code_execution_tool_result": block(
        RESULT,
        content=shape(harmless=plain(f"type {_EDITED} lines new_lines new_start old_lines old_start")),
    ),
    "tool_search_tool_result": block(
        RESULT,
        content=shape(
            harmless=plain("type error_code error_message"),
            bounded={"tool_references": Kinds({"tool_reference": TOOL_REFERENCE})},
        ),
    ),
    "container_upload": shape(harmless=plain("type file_id"), priced=CACHED, reads=reference),
    "advisor_tool_result": block(
        RESULT, content=shape(harmless=plain("type text error_code encrypted_content stop_reason"))
    ),
    "mcp_tool_use": block(f"{USED} server_name"),
    "mcp_tool_result": block("tool_use_id is_error", content=Kinds({"text": TEXT})),
    "mcp_tool_listing": block("mcp_server_name tools"),
    "compaction": block("content encrypted_content signature", tool_changes=Kinds(CHANGES)),
    "fallback": block("from to trigger"),
    **CHANGES,
}
CONTENT: Final = Kinds(BLOCKS)
EDITS: Final = Kinds(
    {
        "clear_tool_uses_20250919": shape(
            harmless=plain("type clear_at_least clear_tool_inputs exclude_tools keep trigger")
        ),
        "clear_thinking_20251015": shape(harmless=plain("type keep")),
    }
)
OUTPUT: Final = shape(harmless=plain("effort format task_budget"))
BODY: Final = shape(
    harmless=plain(
        "model diagnostics metadata stop_sequences stream temperature thinking tool_choice top_k top_p output_format"
        " fallback_credit_token"
    )
    | {"output_config": OUTPUT, "context_management": shape(bounded={"edits": EDITS})},
    bounded=plain("max_tokens")
    | {
        "container": shape(harmless=plain("id skills"), reads=reference),
        "mcp_servers": remote_servers,
        "messages": shape(harmless=plain("role clear_at"), bounded={"content": CONTENT, "output_config": OUTPUT}),
        "system": CONTENT,
        "tools": OFFERED,
    },
    priced=plain("cache_control inference_geo service_tier speed"),
    answering={
        "fallbacks": shape(harmless=plain("thinking output_config"), answering={"model": candidate}, reads=fallbacks)
    },
)
