"""A message as a mail: subject, plain text, and HTML that phones and old mail clients show alike."""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notifier.message import Message, Tone

_BAR_CHARACTERS: Final = 30

_TEMPLATES: Final = Environment(
    loader=PackageLoader("notifier"),
    autoescape=select_autoescape(enabled_extensions=("html",), default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a tone: the bar and button, text on white, and a pale ground (contrast of text ≥ 4.5 on both)."""

    strong: str
    text: str
    pale: str


PALETTES: Final = {
    Tone.GREEN: Palette(strong="#16a34a", text="#15803d", pale="#ecfdf3"),
    Tone.AMBER: Palette(strong="#f59e0b", text="#92400e", pale="#fffbeb"),
    Tone.RED: Palette(strong="#dc2626", text="#b91c1c", pale="#fef2f2"),
}


def html(message: Message) -> str:
    """The HTML part: one column, tables and inline styles, no image and nothing fetched."""
    return _TEMPLATES.get_template("alert.html").render(message=message, palette=PALETTES[message.tone])


def text(message: Message) -> str:
    """The plain text part: everything the HTML says."""
    filled = _BAR_CHARACTERS * message.bar.width_percent // 100
    bar = "█" * filled + "░" * (_BAR_CHARACTERS - filled)
    return _TEMPLATES.get_template("alert.txt").render(message=message, bar=bar)


def letter(
    message: Message, *, sender: str, recipients: tuple[str, ...], message_id: UUID, now: datetime
) -> EmailMessage:
    """The mail. Its Message-ID is derived from `message_id` alone: every attempt at a delivery has the same.

    The header policy refuses line breaks, so that no name can add a header.
    """
    name, address = parseaddr(sender)
    mail = EmailMessage(policy=SMTP)
    mail["Message-ID"] = f"<{message_id}@{address.rpartition('@')[2]}>"
    mail["Date"] = format_datetime(now)
    mail["From"] = Address(display_name=name, addr_spec=address)
    mail["To"] = tuple(Address(addr_spec=recipient) for recipient in recipients)
    mail["Subject"] = message.subject
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(text(message), cte="quoted-printable")
    mail.add_alternative(html(message), subtype="html", cte="quoted-printable")
    mail["Content-Language"] = message.language  # last: an alternative takes earlier Content- headers into its part
    return mail
