"""What the walk of a body finds, piece by piece."""

from typing import Final

from gateway.dialects.content import Audio, Content, Document, Image, Video
from gateway.dialects.path import Path, render

UNBOUNDED_MAX: Final = 8
"""So many fields without a bound are named; one is enough to refuse a call."""


class Findings:
    """Filled by the readers that a dialect's table names."""

    __slots__ = (
        "audio",
        "base64_chars",
        "candidates",
        "documents",
        "fetch_tokens",
        "functions",
        "images",
        "makes",
        "predicts",
        "references",
        "searches",
        "server_tools",
        "unbounded",
        "videos",
    )

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.documents: list[Document] = []
        self.audio: list[Audio] = []
        self.videos: list[Video] = []
        self.references = 0
        self.base64_chars = 0
        self.functions = 0
        self.server_tools: dict[str, int | None] = {}
        self.fetch_tokens: int | None = None
        self.candidates: list[str] = []
        self.searches = False
        self.predicts = False
        self.makes: set[str] = set()
        self.unbounded: list[str] = []

    def is_unbounded(self, path: Path, kind: object = None) -> None:
        """Note a field, or an object of a kind, that no table knows a bound for."""
        if len(self.unbounded) < UNBOUNDED_MAX:
            named = render(path) if kind is None else f"{render(path)}:{str(kind)[:64]}"
            self.unbounded.append(named)

    def content(self, written: bytes) -> Content:
        """All there is to read in a body that is sent so."""
        return Content(
            text_bytes=len(written) - self.base64_chars,
            images=tuple(self.images),
            documents=tuple(self.documents),
            audio=tuple(self.audio),
            videos=tuple(self.videos),
            references=self.references,
        )
