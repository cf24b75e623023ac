import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from uuid import UUID

import pytest

from farebox.events import AccountRef
from notifier.letter import PALETTES, html, letter, text
from notifier.message import Message, Tone, compose
from support.alerts import MIDNIGHT, NOON, crossed

DELIVERY_ID = UUID("01900000-0000-7000-8000-00000000000d")


def message(percent: str = "96.00", language: str = "vi", name: str = "Acme", mark: int = 2) -> Message:
    alert = crossed(percent, mark=mark, language=language, account=AccountRef(id="a", kind="org", name=name))
    return compose(alert, event_id=DELIVERY_ID, occurred_at=NOON, console_url="https://console.example")


def sent(said: Message) -> EmailMessage:
    """The mail as it is read after its way."""
    mail = letter(
        said,
        sender="Farebox <alerts@farebox.example>",
        recipients=("minh@example.com", "lan@example.com"),
        message_id=DELIVERY_ID,
        now=MIDNIGHT,
    )
    return message_from_bytes(bytes(mail), policy=policy.default)


class Balanced(HTMLParser):
    """Fails on an element that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["vi", "ko", "en"])
def test_text_and_html_say_the_same(language: str) -> None:
    said = message(language=language)
    values = [said.headline, *(figure.value for figure in (*said.amounts, *said.facts)), *said.actions, said.link]
    assert all(value in text(said) and value in html(said) for value in values)


@pytest.mark.parametrize("language", ["vi", "ko", "en"])
def test_headers_survive_the_way(language: str) -> None:
    said = message(language=language)
    mail = sent(said)
    assert mail["Subject"] == said.subject
    assert mail["Content-Language"] == language
    assert mail["Auto-Submitted"] == "auto-generated"
    assert [address.addr_spec for address in mail["To"].addresses] == ["minh@example.com", "lan@example.com"]


def test_the_message_id_depends_on_the_delivery_alone() -> None:
    expected = f"<{DELIVERY_ID}@farebox.example>"
    assert {sent(message())["Message-ID"], sent(message("75.00", "ko"))["Message-ID"]} == {expected}


def test_the_html_is_well_formed_and_fetches_nothing() -> None:
    parser = Balanced()
    parser.feed(html(message()))
    assert parser.open == []
    assert parser.seen.isdisjoint({"img", "script", "link", "iframe"})
    assert "url(" not in html(message())


def test_names_are_escaped() -> None:
    page = html(message(name="<script>alert('x')</script> & Söhne"))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; Söhne" in page


def test_names_are_not_escaped_in_plain_text() -> None:
    assert "Tom & Jerry <3" in text(message(name="Tom & Jerry <3"))


def test_a_name_cannot_add_a_header() -> None:
    mail = sent(message(name="Acme\r\nBcc: thief@example.com\r\n\r\nbody"))
    assert mail["Bcc"] is None
    assert len(mail.defects) == 0


@pytest.mark.parametrize(("percent", "width"), [("75.00", 75), ("96.40", 96), ("100.00", 100)])
def test_the_bar_is_as_wide_as_the_percentage(percent: str, width: int) -> None:
    colour = PALETTES[Tone.RED].strong if width > 75 else PALETTES[Tone.AMBER].strong
    page = html(message(percent, mark=0 if width == 75 else 2))
    assert re.findall(rf'<td width="(\d+)%" height="14" bgcolor="{colour}"', page) == [str(width)]


def test_a_bar_of_nothing_has_no_filled_part() -> None:
    page = html(message("0.00", mark=0))
    assert len(re.findall(r'<td[^>]* height="14"', page)) == 1


def test_the_text_bar_has_thirty_characters() -> None:
    line = next(line for line in text(message("50.00")).splitlines() if "░" in line)
    assert (line.count("█"), line.count("░")) == (15, 15)
