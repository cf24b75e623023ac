"""A channel: where an account's alerts go, a list of mail addresses or a webhook."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from farebox.errors import Invalid
from notifier.alert import EVENT_TYPES

RECIPIENTS_MAX: Final = 50
URL_LENGTH_MAX: Final = 2_000

# The address grammar of HTML's <input type=email>: one ASCII address, nothing a header could be broken with.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
ADDRESS: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_ADDRESS_LENGTH_MAX: Final = 254


class Kind(StrEnum):
    """How a channel is reached."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class ChannelState(StrEnum):
    """`DISABLED` keeps what is due waiting; enabling sends it. `DELETED` is no longer shown."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel as stored, without its secret. `event_types` null means all; it filters webhooks only."""

    channel_id: UUID
    account: str
    kind: Kind
    name: str
    state: ChannelState
    disabled_reason: str | None
    recipients: tuple[str, ...]
    url: str | None
    event_types: tuple[str, ...] | None
    created_at: datetime
    updated_at: datetime


def checked_recipients(recipients: Sequence[str]) -> tuple[str, ...]:
    """The addresses, each once, in their order. Raises Invalid naming every address that is none."""
    unique = tuple(dict.fromkeys(recipients))
    problems = [f"recipients: {address!r} is not a mail address" for address in unique if not is_address(address)]
    if not 1 <= len(unique) <= RECIPIENTS_MAX:
        problems.append(f"recipients: between 1 and {RECIPIENTS_MAX} addresses are needed")
    if problems:
        raise Invalid(problems)
    return unique


def is_address(text: str) -> bool:
    """Whether this is one plain ASCII mail address (internationalised domains in their `xn--` form)."""
    local = text.partition("@")[0]
    dotted = local.startswith(".") or local.endswith(".") or ".." in local
    return len(text) <= _ADDRESS_LENGTH_MAX and not dotted and ADDRESS.fullmatch(text) is not None


def checked_url(url: str) -> str:
    """The URL, if it names an http(s) endpoint and nothing secret; where it leads, `address` judges. Raises Invalid."""
    problem = _url_problem(url)
    if problem:
        raise Invalid(f"url: {problem}")
    return url


def _url_problem(url: str) -> str | None:
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"must be at most {URL_LENGTH_MAX} printable ASCII characters without spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "must be http:// or https:// with a host"
    if parts.username is not None or parts.password is not None:
        return "must not contain credentials: it is shown to every administrator"
    return "must not have a fragment" if parts.fragment else None


def checked_event_types(types: Iterable[str]) -> tuple[str, ...]:
    """The types, each once. Raises Invalid naming the unknown ones."""
    unique = tuple(dict.fromkeys(types))
    if unknown := [name for name in unique if name not in EVENT_TYPES]:
        raise Invalid([f"event_types: {name!r} is none of {', '.join(EVENT_TYPES)}" for name in unknown])
    if not unique:
        raise Invalid("event_types: leave it out to receive every type")
    return unique
