"""What a call gives to read: text, and beside it pictures, documents, sounds, films, references to what lies elsewhere.

Something that is named by a URL or an id has no `inline_bytes`; those of other media are of the decoded base64.
"""

from typing import NamedTuple


class Image(NamedTuple):
    """A picture. `detail` is as the caller states it."""

    inline_bytes: int | None
    detail: str | None = None


class Document(NamedTuple):
    """A PDF or another file. By URL or id, or of a type that may unpack to any length, it counts as a reference too."""

    inline_bytes: int | None
    media_type: str | None = None


class Audio(NamedTuple):
    """A sound. By URL or id it counts as a reference too."""

    inline_bytes: int | None
    format: str | None = None


class Video(NamedTuple):
    """A film. By URL or id it counts as a reference too."""

    inline_bytes: int | None


class Content(NamedTuple):
    """All there is to read.

    `text_bytes` are the UTF-8 bytes of the whole body as it is sent, without the base64 of media: no tokeniser makes
    more tokens of its text. `references` counts what has no known size: ids of files, URLs of documents, ids of earlier
    sounds, containers, cached prompts, files that may unpack to any length.
    """

    text_bytes: int
    images: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    audio: tuple[Audio, ...] = ()
    videos: tuple[Video, ...] = ()
    references: int = 0
