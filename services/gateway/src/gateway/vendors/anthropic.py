"""Anthropic's table."""

from types import MappingProxyType
from typing import Final

from gateway.vendors.vendor import ByModel, ServerTool, Vendor

_TURNS: Final = 10
"""A call in which the vendor runs tools ends after so many turns of the model, with `pause_turn`."""

SEARCHES: Final = 5
"""What a call is sent with that states no `max_uses` of its search: as many as in the vendor's own examples."""

_IMAGES: Final[ByModel[int]] = (
    *((pattern, 1_600) for pattern in ("*claude-3*", "*claude-haiku-4*", "*claude-sonnet-4*")),
    *((pattern, 1_600) for pattern in ("*claude-opus-4", "*claude-opus-4-[0-6]", "*claude-opus-4-[0-6][-@v]*")),
    *((pattern, 1_600) for pattern in ("*claude-opus-4.[0-6]", "*claude-opus-4-20*", "*claude-opus-4@*")),
    ("*", 4_784),
)

ANTHROPIC: Final = Vendor(
    images=_IMAGES,
    tool_prompt=1_024,
    each_tool=64,
    client_tools=MappingProxyType({"bash": 512, "text_editor": 1_024, "computer": 1_536, "memory": 2_048}),
    server_tools=MappingProxyType(
        {
            "web_search": ServerTool("web_search", SEARCHES),
            "web_fetch": ServerTool(None, _TURNS),
            "code_execution": ServerTool("code_execution", _TURNS),
            "tool_search_tool_regex": ServerTool(None, _TURNS),
            "tool_search_tool_bm25": ServerTool(None, _TURNS),
        }
    ),
    standard_tier="standard_only",
    has_geographies=True,
)
"""Sources: "Images and vision" (width × height / 750, scaled down to about 1,600; Opus 4.7 and later models 28 × 28
pixels a token, at most 4,784); "Tool use overview", pricing (instructions that come with tools: 264 to 804 by model and
`tool_choice`, held for with a margin); "Bash tool" (245), "Text editor tool" (700), "Computer use tool" (735 and 466 to
499 of instructions), each with a margin; the memory tool's are not documented; "Web search tool" (a fee a search;
results count as input of every turn after them), "Web fetch tool", "Code execution tool" (no fee a call); "Handling
stop reasons" (`pause_turn`); "Service tiers" (absent is `auto`, which takes priority capacity where there is some);
"Data residency" (absent is the workspace's, which may be `us` at 1.1 times the price)."""

RESOLD: Final = ANTHROPIC._replace(standard_tier=None, has_geographies=False, server_tools=MappingProxyType({}))
"""Anthropic's models at Bedrock, Vertex and resellers, whose tiers and tools are their own."""
