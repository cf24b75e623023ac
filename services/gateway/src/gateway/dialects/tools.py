"""The tools a call offers to the model: the caller's own, and those that the vendor defines."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gateway.dialects.findings import Findings
from gateway.dialects.path import Path, render
from gateway.errors import BadCall

USES_MAX: Final = 10_000
SEARCH: Final = "web_search"

_VERSION: Final = re.compile(r"_\d{8}$")


class Tools(NamedTuple):
    """`functions` counts the caller's own, whose JSON is in `Content.text_bytes`.

    `server` are those that the vendor defines, which its own servers run (web_search, web_fetch, code_execution, …) or
    for which it adds text to the prompt (computer, bash, text_editor, …): each by its type without the version's date,
    with the `max_uses` stated, or None. `fetch_tokens` is the `max_content_tokens` stated for web_fetch. `choice` is
    the kind of `tool_choice`: auto, any, required, none, tool, function, …; None where the caller states none.
    `search_is_open` says that a web_search among `tools` states no `max_uses`, and that it can be stated there.
    """

    functions: int = 0
    server: Mapping[str, int | None] = MappingProxyType({})
    fetch_tokens: int | None = None
    choice: str | None = None
    search_is_open: bool = False


NO_TOOLS: Final = Tools()


def tools(found: Findings, body: Mapping[str, Any]) -> Tools:
    """What the walk has found."""
    if not found.functions and not found.server_tools:
        return NO_TOOLS
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return Tools(
        found.functions,
        MappingProxyType(found.server_tools),
        found.fetch_tokens,
        kind if isinstance(kind, str) else None,
        found.search_is_open,
    )


def callers_own(_value: Any, _path: Path, found: Findings) -> None:
    """A function, or any tool that the caller runs."""
    found.functions += 1


def vendors(value: Any, path: Path, found: Findings) -> None:
    """A tool that the vendor defines. Two of a type may be used as often as both say."""
    name = _VERSION.sub("", value["type"])
    uses = _count(value, "max_uses", path)
    before = found.server_tools.get(name, 0)
    found.server_tools[name] = None if uses is None or before is None else before + uses
    if name == "web_fetch":
        found.fetch_tokens = _count(value, "max_content_tokens", path)


def web_search(value: Any, path: Path, found: Findings) -> None:
    """Anthropic's. Of several, and of one that a message adds, the caller has to state `max_uses`."""
    is_open, is_second = value.get("max_uses") is None, SEARCH in found.server_tools
    if (is_open and (is_second or not _is_top(path))) or (is_second and found.search_is_open):
        found.is_unbounded(path, value["type"])
    found.search_is_open |= is_open
    vendors(value, path, found)


def with_uses(offered: Any, uses: int) -> list[Any]:
    """The same tools, with so many uses stated of a web_search that states none."""
    return [
        {**tool, "max_uses": uses} if _kind(tool) == SEARCH and tool.get("max_uses") is None else tool
        for tool in offered
    ]


def _kind(tool: Any) -> str:
    """Of a tool that the vendor defines, without the version's date."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    return _VERSION.sub("", kind) if isinstance(kind, str) else ""


def _is_top(path: Path) -> bool:
    return path is not None and path[0] == (None, "tools")


def remote_servers(value: Any, _path: Path, found: Findings) -> None:
    """`mcp_servers`: the vendor calls their tools as often as the model likes."""
    if value:
        found.server_tools["mcp"] = None


def _count(value: Mapping[str, Any], name: str, path: Path) -> int | None:
    count = value.get(name)
    if count is None:
        return None
    if type(count) is not int or not 1 <= count <= USES_MAX * 1000:
        shown = render((path, name))
        raise BadCall(f"`{shown}` must be a whole number from 1", param=shown)
    return count
