"""Tables of vendors that have few entries."""

from typing import Final

from gateway.vendors.vendor import Vendor

UNKNOWN: Final = Vendor()
"""A server that only speaks the dialect: media may take what is left of the window. The instructions that chat
templates of open models add to tools have some hundred tokens."""

MISTRAL: Final = Vendor(images=(("*", 64 * 64 + 64),))
"""Source: "Vision" (scaled into 1,024 × 1,024, a token for 16 × 16 pixels and one a row)."""

PERPLEXITY: Final = Vendor(searching=(("sonar*", False),))
"""Source: "Pricing" (a fee a request; what is found costs nothing beside it)."""

XAI: Final = Vendor(images=(("*", 1_792),), unbounded=(("*multi-agent*", True),))
"""Source: "Image understanding" (at most 7 tiles of 256); "Multi-agent" (several agents answer, as long as they
like)."""
