"""What a call gives to read beside text: pictures, documents, sounds, films, references to what lies elsewhere."""

from typing import Any, Final, NamedTuple

_INLINE: Final = "data:"


class Image(NamedTuple):
    """A picture. `inline_bytes` is None where it is named by a URL or a file's id; `detail` is as the caller states."""

    inline_bytes: int | None
    detail: str | None = None


class Document(NamedTuple):
    """A PDF or another file. Named by a URL or an id, it has no `inline_bytes` and counts as a reference too."""

    inline_bytes: int | None
    media_type: str | None = None


class Audio(NamedTuple):
    """A sound. Named by a URL or an id, it has no `inline_bytes` and counts as a reference too."""

    inline_bytes: int | None
    format: str | None = None


class Video(NamedTuple):
    """A film. Named by a URL or an id, it has no `inline_bytes` and counts as a reference too."""

    inline_bytes: int | None


class Content(NamedTuple):
    """All that a call gives to read.

    `text_bytes` are the UTF-8 bytes of the whole body as it is sent, without the base64 of media: no tokeniser makes
    more tokens of its text. `inline_bytes` of media are those of the decoded data. `references` counts what has no
    known size: ids of files, URLs of documents, ids of earlier sounds, containers, files that may unpack to any length.
    """

    text_bytes: int
    images: tuple[Image, ...] = ()
    documents: tuple[Document, ...] = ()
    audio: tuple[Audio, ...] = ()
    videos: tuple[Video, ...] = ()
    references: int = 0


def content_of(body: dict[str, Any], written: bytes) -> Content:
    """Walks messages to any depth."""
    found: list[Image | Document | Audio | Video] = []
    cut = references = 0
    waiting: list[Any] = list(body.get("messages") or ())
    waiting.append(body.get("system"))
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(value for value in part.values() if isinstance(value, (dict, list)))
            medium, length = _medium(part)
            if medium is not None:
                found.append(medium)
                cut += length
                references += medium.inline_bytes is None and not isinstance(medium, Image)
            elif "file_id" in part or "container_id" in part:
                references += 1
    return Content(
        text_bytes=len(written) - cut,
        images=tuple(each for each in found if isinstance(each, Image)),
        documents=tuple(each for each in found if isinstance(each, Document)),
        audio=tuple(each for each in found if isinstance(each, Audio)),
        videos=tuple(each for each in found if isinstance(each, Video)),
        references=references,
    )


def _medium(part: dict[str, Any]) -> tuple[Image | Document | Audio | Video | None, int]:
    """The medium a part holds, and how long its base64 is."""
    kind = part.get("type")
    inner = part.get(kind) if isinstance(kind, str) else None
    inner = inner if isinstance(inner, dict) else {}
    source = part.get("source")
    source = source if isinstance(source, dict) else {}
    if kind == "image_url":
        length = _base64_length(inner.get("url"))
        return Image(_decoded(length), inner.get("detail")), length
    if kind == "image":
        length = len(source["data"]) if isinstance(source.get("data"), str) else 0
        return Image(_decoded(length)), length
    if kind == "input_audio":
        length = len(inner["data"]) if isinstance(inner.get("data"), str) else 0
        return Audio(_decoded(length), inner.get("format")), length
    if kind == "file":
        length = _base64_length(inner.get("file_data"))
        return Document(_decoded(length)), length
    if kind == "document" and source.get("type") != "text":
        length = len(source["data"]) if isinstance(source.get("data"), str) else 0
        return Document(_decoded(length), source.get("media_type")), length
    if kind == "video_url":
        length = _base64_length(inner.get("url"))
        return Video(_decoded(length)), length
    return None, 0


def _base64_length(url: object) -> int:
    if not isinstance(url, str) or not url.startswith(_INLINE):
        return 0
    return len(url) - url.find(",") - 1


def _decoded(length: int) -> int | None:
    return length * 3 // 4 if length else None
