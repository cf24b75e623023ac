from farebox.kafka import Record, Rejected
from farebox.kafka.dead import DETAIL_CHARS_MAX, dead_letter

RECORD = Record("usage", 3, 17, 0, b"user", b"{", (("ce_id", b"7"), ("null", None), ("ce_id", b"8")))


def test_dead_letter_has_the_original_bytes_and_headers_first() -> None:
    message = dead_letter(Rejected(RECORD, "undecodable", "no JSON"))
    assert (message.topic, message.key, message.value) == ("usage.dead", b"user", b"{")
    assert message.headers[:3] == RECORD.raw_headers


def test_dead_letter_says_why_and_from_where() -> None:
    assert dict(dead_letter(Rejected(RECORD, "undecodable", "no JSON")).headers[3:]) == {
        "farebox-dead-reason": b"undecodable",
        "farebox-dead-detail": b"no JSON",
        "farebox-dead-topic": b"usage",
        "farebox-dead-partition": b"3",
        "farebox-dead-offset": b"17",
    }


def test_detail_is_bounded() -> None:
    message = dead_letter(Rejected(RECORD, "undecodable", "x" * 5_000))
    assert len(dict(message.headers)["farebox-dead-detail"] or b"") == DETAIL_CHARS_MAX


def test_dead_letter_too_large_to_carry_keeps_the_place_and_the_size() -> None:
    message = dead_letter(Rejected(RECORD, "undecodable", "no JSON"), keep_value=False)
    assert (message.value, dict(message.headers)["farebox-dead-value-bytes"]) == (None, b"1")
