"""Which keys of a compacted topic end with an older record than they had."""

import pytest

from farebox.compacted import LastRecords
from farebox.kafka import Record


def records(*revisions: int, first: int = 0, key: bytes = b"k", partition: int = 0) -> list[Record]:
    return [
        Record("topic", partition, offset, 0, key, b"%d" % revision, ())
        for offset, revision in enumerate(revisions, start=first)
    ]


def last_records() -> LastRecords:
    return LastRecords(lambda record: (int(record.value or b"0"),))


@pytest.mark.parametrize(
    ("revisions", "stepped_back"),
    [((1, 2), set()), ((1, 2, 1), {"k"}), ((1, 2, 1, 2), set()), ((1, 3, 1, 2), {"k"}), ((2, 2), set())],
)
def test_a_key_has_stepped_back_while_its_last_record_is_not_its_newest(
    revisions: tuple[int, ...], stepped_back: set[str]
) -> None:
    last = last_records()
    assert last.take(records(*revisions)) == bool(stepped_back)
    assert last.order("k") == (revisions[-1],)
    assert last.take_stepped_back() == stepped_back
    assert last.take_stepped_back() == set()


def test_records_read_again_after_a_reconnect_are_not_the_last_ones() -> None:
    last = last_records()
    last.take(records(1, 2, 3))
    assert not last.take(records(1, 2))
    assert last.order("k") == (3,)


def test_every_partition_has_offsets_of_its_own() -> None:
    last = last_records()
    last.take(records(1, 2, 3))
    last.take(records(7, key=b"other", partition=1))
    assert last.order("other") == (7,)
