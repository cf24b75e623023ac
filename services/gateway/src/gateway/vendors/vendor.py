"""The shape of a vendor's table: what may be counted, or asked for, in a call of one of its models."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

ValueT = TypeVar("ValueT")
ByModel: TypeAlias = tuple[tuple[str, ValueT], ...]
"""Values by patterns of model names: the first that fits counts, so that the last is `*` or there is none."""


class ServerTool(NamedTuple):
    """A tool that the vendor runs itself, in turns of the model that read what it found.

    `fee` is the name by which its calls are priced, None where they cost nothing of their own. `uses` is how often it
    can run in a call that states no `max_uses`; None where nothing bounds that. Of web_search it is what we state then.
    """

    fee: str | None
    uses: int | None


class Vendor(NamedTuple):
    """All counts are tokens, and the most that the vendor documents.

    An image of a model that `images` does not list may take what is left of the context window. `small_images` are
    those for which the caller states `detail: low`. `audio_bytes` of an encoded sound make a token at the lowest bit
    rate of the formats that the vendor takes; None where it does not say how it counts.
    """

    images: ByModel[int] = ()
    small_images: ByModel[int] = ()
    audio_bytes: int | None = None
    tool_prompt: int = 1_024
    """Of instructions that come with the first tool of a call."""
    each_tool: int = 64
    """Of framing for each tool, beside its JSON."""
    format_prompt: int = 512
    """Of instructions that come with a form in which the answer has to be."""
    client_tools: Mapping[str, int] = MappingProxyType({})
    """Tools that the vendor defines and the caller runs: their definitions, which the call does not show."""
    server_tools: Mapping[str, ServerTool] = MappingProxyType({})
    searching: ByModel[bool] = ()
    """Models that search the web for every answer, and whether what they find counts as input."""
    unbounded: ByModel[bool] = (("*deep-research*", True),)
    """Models that do by themselves what nothing in a call bounds."""
    limit_field: ByModel[str] = (("*", "max_tokens"),)
    """The field in which a limit on the output is sent."""
    takes_either_limit: bool = False
    """Whether a limit holds in the other field, too. A server that does not know that one answers without a limit."""
    standard_tier: str | None = None
    """What to ask for where the caller names no service tier, and the account with the vendor may have a dearer one."""
    has_geographies: bool = False
    """Whether a call that names none may be served, at its price, in one that the account with the vendor has set."""


class Traits(NamedTuple):
    """A vendor's table read for one model."""

    vendor: Vendor
    image: int | None
    small_image: int | None
    finds: bool | None
    """Whether what the model finds in its own searches counts as input; None where it makes none."""
    is_unbounded: bool
    limit_field: str


def traits(vendor: Vendor, model: str) -> Traits:
    """For a model as it is asked for; a reseller's `openai/gpt-5` goes by its own name."""
    name = model.lower().rpartition("/")[2]
    image = chosen(vendor.images, name)
    return Traits(
        vendor,
        image,
        chosen(vendor.small_images, name) or image,
        chosen(vendor.searching, name),
        bool(chosen(vendor.unbounded, name)),
        chosen(vendor.limit_field, name) or "max_tokens",
    )


def chosen(values: ByModel[ValueT], name: str) -> ValueT | None:
    """The first value whose pattern fits."""
    return next((value for pattern, value in values if fnmatchcase(name, pattern)), None)
