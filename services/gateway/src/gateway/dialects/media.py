"""Readers of what is no text: pictures, documents, sounds, films, and references to what lies elsewhere."""

from typing import Any, Final

from gateway.dialects.content import Audio, Document, Image, Video
from gateway.dialects.findings import Findings
from gateway.dialects.path import Path

_PDF: Final = "application/pdf"


def picture_url(value: Any, _path: Path, found: Findings) -> None:
    """`image_url`, an object or, as some take it, a text. Data of another medium is that medium: Gemini takes any."""
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, None)
    media_type, chars = _data_url(url)
    if chars and not media_type.startswith("image/"):
        _inline(media_type, chars, found)
        return
    found.media.append(Image(_length(chars) if chars else None, detail if isinstance(detail, str) else None))
    found.base64_chars += chars


def picture_data(value: Any, _path: Path, found: Findings) -> None:
    """A `source` of Anthropic's with the picture in it."""
    chars = _chars(value)
    found.media.append(Image(_length(chars)))
    found.base64_chars += chars


def picture_elsewhere(_value: Any, _path: Path, found: Findings) -> None:
    """A `source` of Anthropic's that names a picture by URL or id."""
    found.media.append(Image(None))


def document_data(value: Any, _path: Path, found: Findings) -> None:
    """A `source` of Anthropic's with the document in it."""
    _inline(str(value.get("media_type")), _chars(value), found)


def document_elsewhere(_value: Any, _path: Path, found: Findings) -> None:
    """A document that is named by URL or id."""
    found.media.append(Document(None))
    found.references += 1


def file(value: Any, path: Path, found: Findings) -> None:
    """`file` of a chat message: data in a data URL or as bare base64, or an id. Where it has both, both may be read."""
    data = value.get("file_data") if isinstance(value, dict) else None
    if isinstance(data, str):
        media_type, chars = _data_url(data)
        _inline(media_type, chars, found) if chars else document_elsewhere(value, path, found)
    if data is None or (isinstance(value, dict) and value.get("file_id") is not None):
        document_elsewhere(value, path, found)


def sound(value: Any, path: Path, found: Findings) -> None:
    """`input_audio`: an object with data and format or, as some take it, a text that is either data or a URL."""
    data, named = (value.get("data"), value.get("format")) if isinstance(value, dict) else (None, None)
    if not isinstance(data, str):
        earlier_sound(value, path, found)
        return
    found.media.append(Audio(_length(len(data)), named if isinstance(named, str) else None))
    found.base64_chars += len(data)


def earlier_sound(_value: Any, _path: Path, found: Findings) -> None:
    """`audio` of an assistant's message: the id of what the model said before."""
    found.media.append(Audio(None))
    found.references += 1


def film(value: Any, _path: Path, found: Findings) -> None:
    """`video_url`, an object or a text."""
    _, chars = _data_url(value.get("url") if isinstance(value, dict) else value)
    found.media.append(Video(_length(chars) if chars else None))
    found.base64_chars += chars
    found.references += not chars


def reference(_value: Any, _path: Path, found: Findings) -> None:
    """Something of unknown size that the model may read: a container, a cached prompt, a thread."""
    found.references += 1


def _inline(media_type: str, chars: int, found: Findings) -> None:
    """Base64 of a stated type. Of text it is counted as text, which its base64 is longer than."""
    if media_type.startswith("text/"):
        return
    length = _length(chars)
    found.base64_chars += chars
    if media_type.startswith("image/"):
        found.media.append(Image(length))
    elif media_type.startswith("audio/"):
        found.media.append(Audio(length, media_type.removeprefix("audio/")))
    elif media_type.startswith("video/"):
        found.media.append(Video(length))
    else:
        found.media.append(Document(length, media_type))
        found.references += media_type != _PDF  # it may unpack to any length


def _data_url(url: object) -> tuple[str, int]:
    """Media type and length of the base64 in a data URL; no length where it is none."""
    if not isinstance(url, str) or url[:5].lower() != "data:":
        return "", 0
    comma = url.find(",", 0, 256)
    stated = url[5:comma].lower() if comma > 0 else ""
    if not stated.endswith(";base64"):
        return "", 0
    return stated.partition(";")[0].strip(), len(url) - comma - 1


def _chars(source: Any) -> int:
    data = source.get("data") if isinstance(source, dict) else None
    return len(data) if isinstance(data, str) else 0


def _length(chars: int) -> int:
    return chars * 3 // 4
