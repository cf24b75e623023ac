"""The text of every answer: as many words as tokens, always the same ones."""

from collections.abc import Iterator
from itertools import cycle, islice

_TEXT = "every call has its price and every price its line in the book so that nobody is surprised"
_WORDS = _TEXT.split(" ")


def words(tokens: int) -> Iterator[str]:
    """One word a token; all but the first begin with a space."""
    for index, word in enumerate(islice(cycle(_WORDS), tokens)):
        yield f" {word}" if index else word
