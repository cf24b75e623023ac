"""The tools a call offers to the model: the caller's own, and those that the provider runs itself."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_CALLERS_OWN: Final = frozenset({"function", "custom", None})


class Tools(NamedTuple):
    """`functions` counts the caller's own, whose JSON is in `Content.text_bytes`.

    `server` are those that the vendor defines (web_search, web_fetch, code_execution, computer, bash, …), by name
    without the date of their version; each with the `max_uses` stated, or None. `choice` is the kind of `tool_choice`:
    auto, any, required, none, tool, function, … or None where the caller states none.
    """

    functions: int = 0
    server: Mapping[str, int | None] = MappingProxyType({})
    choice: str | None = None


NO_TOOLS: Final = Tools()


def tools_of(body: dict[str, Any]) -> Tools:
    """What the body offers."""
    tools, functions = body.get("tools"), body.get("functions")
    if not tools and not functions:
        return NO_TOOLS
    own = len(functions) if isinstance(functions, list) else 0
    server: dict[str, int | None] = {}
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind in _CALLERS_OWN:
            own += 1
        else:
            server[str(kind).rstrip("0123456789").rstrip("_")] = tool.get("max_uses")
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return Tools(own, MappingProxyType(server), kind if isinstance(kind, str) else None)
