"""What the walk of a body finds, piece by piece."""

from typing import Final

from gateway.dialects.content import Audio, Content, Document, Image, Video
from gateway.dialects.path import STEP_CHARS_MAX, Path, render, setting
from gateway.errors import BadCall

UNBOUNDED_MAX: Final = 64
"""No call has more kinds of fields that no table knows, unless it is made to be tiresome."""


class Findings:
    """Filled by the readers that a dialect's table names."""

    __slots__ = (
        "base64_chars",
        "candidates",
        "fetch_tokens",
        "functions",
        "makes",
        "media",
        "predicts",
        "references",
        "search_is_open",
        "searches",
        "server_tools",
        "unbounded",
    )

    def __init__(self) -> None:
        self.media: list[Image | Document | Audio | Video] = []
        self.references = 0
        self.base64_chars = 0
        self.functions = 0
        self.server_tools: dict[str, int | None] = {}
        self.fetch_tokens: int | None = None
        self.candidates: list[str] = []
        self.search_is_open = False
        self.searches = False
        self.predicts = False
        self.makes: set[str] = set()
        self.unbounded: dict[str, str] = {}

    def is_unbounded(self, path: Path, kind: object = None) -> None:
        """Note a field, or an object of a kind, that no table knows a bound for: the first of each setting."""
        named = render(path) if kind is None else f"{render(path)}:{str(kind)[:STEP_CHARS_MAX]}"
        self.unbounded.setdefault(setting(named), named)
        if len(self.unbounded) > UNBOUNDED_MAX:
            raise BadCall(f"`{named}` is one of too many fields that are not known", param=named)

    def content(self, written: bytes) -> Content:
        """All there is to read in a body that is sent so."""
        text_bytes = len(written) - self.base64_chars
        if not self.media:
            return Content(text_bytes, references=self.references)
        return Content(
            text_bytes,
            images=tuple(each for each in self.media if isinstance(each, Image)),
            documents=tuple(each for each in self.media if isinstance(each, Document)),
            audio=tuple(each for each in self.media if isinstance(each, Audio)),
            videos=tuple(each for each in self.media if isinstance(each, Video)),
            references=self.references,
        )
