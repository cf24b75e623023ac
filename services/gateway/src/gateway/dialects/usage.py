"""What is charged of an answer whose provider does not say what was used."""

from typing import Final

from farebox.pricing import Usage, UsageSource

BYTES_PER_TOKEN: Final = 4
"""Of text in an estimate. Deltas are counted besides, so scripts with shorter tokens are not underestimated."""

NOTHING: Final = Usage(requests=0)
"""An attempt the provider refused or never saw."""


def estimated(*, input_tokens: int, output_tokens: int, worst: Usage) -> Usage:
    """A guess for an answer without usage, marked as such and never above what was reserved."""
    return Usage(
        input=min(input_tokens, worst.input_total),
        output=min(output_tokens, worst.output_total),
        source=UsageSource.ESTIMATED,
    )


def tokens_of(text_bytes: int) -> int:
    """Tokens of so much text, roughly."""
    return -(-text_bytes // BYTES_PER_TOKEN)
