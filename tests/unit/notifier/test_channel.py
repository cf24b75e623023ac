import pytest

from farebox.errors import Invalid
from notifier.channel import checked_event_types, checked_recipients, checked_url, is_address


@pytest.mark.parametrize("address", ["minh@example.com", "a.b+c@sub.example.co", "x@localhost", "o'brien@example.com"])
def test_plain_addresses_are_taken(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "minh",
        "minh@",
        "@example.com",
        "a@b@c.com",
        "minh@example.com\r\nBcc: all@example.com",
        "minh@example.com\n",
        "minh@example.com, lan@example.com",
        "Minh <minh@example.com>",
        "minh @example.com",
        ".minh@example.com",
        "mi..nh@example.com",
        "minh.@example.com",
        "minh@-example.com",
        "minh@example..com",
        "phở@example.com",
        "minh@phở.vn",
        '"minh"@example.com',
        "x" * 65 + "@example.com",
        "minh@" + "x." * 125 + "com",
    ],
)
def test_what_could_break_a_header_is_no_address(address: str) -> None:
    assert not is_address(address)


def test_every_bad_recipient_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        checked_recipients(["good@example.com", "bad", "worse"])
    assert len(refused.value.problems) == 2


def test_a_recipient_is_kept_once() -> None:
    assert checked_recipients(["a@example.com", "b@example.com", "a@example.com"]) == ("a@example.com", "b@example.com")


@pytest.mark.parametrize("count", [0, 51])
def test_there_are_between_1_and_50_recipients(count: int) -> None:
    with pytest.raises(Invalid):
        checked_recipients([f"a{n}@example.com" for n in range(count)])


@pytest.mark.parametrize("url", ["https://example.com/hook?x=1", "http://10.0.0.1:8080/", "https://[2606::1]/"])
def test_web_addresses_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://phở.vn/",
        "https://[::1/",
        "https://example.com/" + "x" * 2000,
        "gopher://example.com/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        checked_url(url)


def test_unknown_event_types_are_named() -> None:
    with pytest.raises(Invalid, match=r"'farebox\.nonsense\.v1' is none of"):
        checked_event_types(["farebox.budget.exhausted.v1", "farebox.nonsense.v1"])


def test_no_event_types_at_all_would_be_a_dead_channel() -> None:
    with pytest.raises(Invalid):
        checked_event_types([])
