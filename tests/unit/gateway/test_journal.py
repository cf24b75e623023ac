import errno
import os
from binascii import crc32
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from structlog.testing import capture_logs

from farebox.ids import new_id
from gateway.errors import JournalFull, JournalLocked
from gateway.journal import segment
from gateway.journal.journal import COMPLETION_MORE_BYTES, Journal
from gateway.journal.record import Entry
from gateway.journal.replay import Place
from gateway.shares.amount import Amount
from gateway.shares.shares import Spent, WindowKey

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WINDOW = WindowKey(UUID(int=8), NOW)

Opener = Callable[..., Journal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Opener]:
    """Opens the test's journal; opening it again stands for the next process after a SIGKILL."""
    opened: list[Journal] = []

    def open_(**settings: Any) -> Journal:
        while opened:
            killed(opened.pop())
        chosen = {"segment_bytes": 1 << 20, "limit_bytes": 1 << 30, "spent": list, "boot": "this boot", **settings}
        opened.append(Journal(tmp_path, **chosen))
        return opened[-1]

    yield open_
    for journal in opened:
        journal.close()


def killed(journal: Journal) -> None:
    """Its files are closed, and it writes no more."""
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        journal.close()


def entry(money: int, id_: UUID | None = None) -> Entry:
    return Entry(id_ or new_id(), ((WINDOW, 0),), Amount(money, 1, money), "ann", NOW, b'{"x":1}')


def ended(journal: Journal, *entries: Entry) -> list[Place]:
    """Attempts that were begun and have ended."""
    return [journal.completed(each, journal.intent(each)) for each in entries]


def full(patch: pytest.MonkeyPatch, *, room: int = 0) -> None:
    """The disk has so many bytes left."""
    take, left = os.posix_fallocate, [room]

    def bounded(file: int, offset: int, length: int) -> None:
        if length > left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= length
        take(file, offset, length)

    patch.setattr(os, "posix_fallocate", bounded)
    patch.setattr(segment, "AHEAD_BYTES", 0)


def broken(patch: pytest.MonkeyPatch) -> None:
    """The disk takes nothing any more, not in room that it gave before either."""

    def fails(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(os, "pwrite", fails)


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*segment-*"))


def spent(journal: Journal) -> list[int]:
    return [each.amount for each in journal.recovered.spent]


def test_a_new_journal_knows_nothing(open_journal: Opener) -> None:
    recovered = open_journal().recovered
    assert (recovered.epoch, recovered.last_record, recovered.spent, recovered.unpublished) == (0, 0, (), ())
    assert recovered.is_whole, "of no epoch: whether there was one, the budget service knows"


def test_a_completion_that_kafka_may_not_have_comes_back(open_journal: Opener) -> None:
    journal = open_journal()
    done = entry(40)
    journal.completed(done, journal.intent(entry(100, done.id)))
    again = open_journal()
    ((id_, place),) = again.recovered.unpublished
    assert id_ == done.id
    assert again.entry(place) == done


def test_what_kafka_has_does_not(open_journal: Opener) -> None:
    journal = open_journal()
    done = entry(40)
    journal.published([(done.id, journal.completed(done, journal.intent(entry(100, done.id))))])
    assert open_journal().recovered.unpublished == ()


def test_an_intent_nobody_saw_the_end_of_is_completed_as_it_says(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    lost = entry(100)
    journal.intent(lost)
    again = open_journal()
    assert again.recovered.without_end == 1
    assert spent(again) == [100]
    ((_, place),) = again.recovered.unpublished
    assert again.entry(place) == lost


def test_an_intent_is_completed_once_over_several_crashes(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    journal.intent(entry(100))
    open_journal()
    again = open_journal()
    assert again.recovered.without_end == 0
    assert spent(again) == [100]
    assert len(again.recovered.unpublished) == 1


def test_spending_of_a_window_is_summed_over_segments(open_journal: Opener) -> None:
    totals = [Spent(WINDOW, 0, 0)]
    journal = open_journal(segment_bytes=600, spent=lambda: totals)
    journal.epoch(3)
    for count in range(1, 6):
        done = entry(10)
        journal.completed(done, journal.intent(entry(100, done.id)))
        totals[0] = Spent(WINDOW, 0, 10 * count)
    again = open_journal()
    assert again.recovered.epoch == 3
    assert spent(again) == [50]


def test_an_epoch_ends_the_spending_before_it(open_journal: Opener) -> None:
    journal = open_journal()
    ended(journal, entry(40))
    journal.epoch(2)
    again = open_journal()
    assert (again.recovered.epoch, spent(again)) == (2, [])


def test_spending_that_no_epoch_has_taken_survives_another_crash(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(1)
    ended(journal, entry(40))
    open_journal()
    assert spent(open_journal()) == [40]


def test_a_torn_last_line_is_no_damage(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal()
    journal.epoch(1)
    ended(journal, entry(40))
    with (tmp_path / segments(tmp_path)[-1]).open("ab") as file:
        file.write(b"0123 intent {")
    recovered = open_journal().recovered
    assert recovered.is_whole
    assert len(recovered.unpublished) == 1


def test_a_damaged_segment_is_set_aside_and_what_can_be_read_is_kept(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal()
    journal.epoch(1)
    kept = entry(40)
    ended(journal, kept)
    ended(journal, entry(50))
    path = tmp_path / segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b'"settled":[50', b'"settled":[51'))
    again = open_journal()
    assert not again.recovered.is_whole
    assert [id_ for id_, _ in again.recovered.unpublished] == [kept.id]
    assert segments(tmp_path)[0].startswith("damaged-segment-")
    assert not open_journal().recovered.is_whole, "what was lost is lost until there is a new epoch"


def test_a_damaged_segment_of_which_nothing_is_waiting_is_kept_to_be_looked_at(
    open_journal: Opener, tmp_path: Path
) -> None:
    journal = open_journal()
    done = entry(40)
    journal.published([(done.id, ended(journal, done)[0])])
    path = tmp_path / segments(tmp_path)[0]
    path.write_bytes(path.read_bytes() + b"not a record\n")
    assert not open_journal().recovered.is_whole
    assert segments(tmp_path)[0] == f"damaged-{path.name}"


def test_segments_are_deleted_when_all_of_them_is_published(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal(segment_bytes=300)
    done = [entry(10) for _ in range(4)]
    places = ended(journal, *done)
    before = len(segments(tmp_path))
    journal.published([(each.id, place) for each, place in zip(done[1:], places[1:], strict=True)])
    assert len(segments(tmp_path)) >= before, "the oldest still holds an event"
    journal.published([(done[0].id, places[0])])
    journal.close()
    assert len(segments(tmp_path)) <= 2


def test_a_full_journal_refuses_and_is_as_before(open_journal: Opener) -> None:
    journal = open_journal(limit_bytes=COMPLETION_MORE_BYTES + 2048)
    journal.epoch(1)
    ended(journal, entry(1))
    with pytest.raises(JournalFull):
        ended(journal, *(entry(1) for _ in range(100)))
    assert journal.problems()
    assert open_journal(limit_bytes=1024).recovered.is_whole


def test_a_disk_that_takes_half_a_record_leaves_none(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    journal.epoch(1)
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[: len(data) // 2], at))
    with pytest.raises(JournalFull):
        journal.intent(entry(1))
    monkeypatch.undo()
    ended(journal, entry(1))
    assert open_journal().recovered.is_whole


def until_full(journal: Journal) -> list[tuple[Entry, Place]]:
    """Attempts that were begun, until one was refused; at least one."""
    begun: list[tuple[Entry, Place]] = []
    try:
        while True:
            each = entry(1)
            begun.append((each, journal.intent(each)))
    except JournalFull:
        assert begun
        return begun


def filled(journal: Journal) -> None:
    """Attempts are begun and ended until no further one is taken."""
    with pytest.raises(JournalFull):
        ended(journal, *(entry(1) for _ in range(1000)))


def test_a_disk_without_room_is_told_and_tried_again(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    journal.epoch(1)
    full(monkeypatch)
    filled(journal)
    assert "No space left on device" in journal.problems()[0]
    monkeypatch.undo()
    assert journal.problems() == []
    journal.intent(entry(1))
    assert open_journal().recovered.is_whole


def test_a_disk_is_no_better_for_taking_short_records(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    done = entry(40)
    place = journal.intent(done)
    full(monkeypatch)
    with capture_logs() as lines:
        for _ in range(3):
            filled(journal)
            journal.published([(done.id, place)])
            assert journal.problems()
        monkeypatch.undo()
        assert journal.problems() == []
    assert [line["event"] for line in lines] == ["journal_not_writable", "journal_writable_again"]


@pytest.mark.parametrize("segment_bytes", [600, 1 << 20])
def test_on_a_full_disk_every_attempt_that_was_begun_is_completed(
    open_journal: Opener, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    journal = open_journal(segment_bytes=segment_bytes)
    full(monkeypatch, room=3 * COMPLETION_MORE_BYTES)
    begun = until_full(journal)
    journal.published([])
    for each, intent in begun:
        assert journal.completed(each, intent) != intent
    assert open_journal().recovered.without_end == 0


def test_a_limit_leaves_room_for_every_completion(open_journal: Opener) -> None:
    journal = open_journal(limit_bytes=3 * COMPLETION_MORE_BYTES)
    begun = until_full(journal)
    long = [each._replace(event=b'{"x":"%s"}' % (b"x" * (COMPLETION_MORE_BYTES // 2))) for each, _ in begun]
    assert all(journal.completed(each, intent) != intent for each, (_, intent) in zip(long, begun, strict=True))


def test_room_that_nobody_used_goes_back(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal()
    journal.intent(entry(1))
    (path,) = tmp_path.glob("segment-*")
    assert path.stat().st_size > COMPLETION_MORE_BYTES
    open_journal()
    assert path.stat().st_size < COMPLETION_MORE_BYTES


def test_a_process_that_died_on_a_full_disk_left_room_for_the_next(
    open_journal: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the next process needs is what this one had taken for its completions."""
    take, left = os.posix_fallocate, {"bytes": 1 << 17}
    trim = os.ftruncate

    def taken(file: int, offset: int, length: int) -> None:
        if length > left["bytes"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left["bytes"] -= length
        take(file, offset, length)

    def given_back(file: int, size: int) -> None:
        left["bytes"] += os.fstat(file).st_size - size
        trim(file, size)

    monkeypatch.setattr(os, "posix_fallocate", taken)
    monkeypatch.setattr(os, "ftruncate", given_back)
    journal = open_journal()
    begun = until_full(journal)
    assert open_journal().recovered.without_end == len(begun)


def test_a_segment_that_cannot_begin_leaves_nothing_open(
    open_journal: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(segment_bytes=1)
    ended(journal, entry(1))
    before, names = files_open(), segments(tmp_path)
    full(monkeypatch)
    for _ in range(10):
        with pytest.raises(JournalFull):
            journal.intent(entry(1))
    assert files_open() <= before
    assert set(segments(tmp_path)) <= set(names)


def test_what_a_refused_completion_spent_is_known_to_the_next_process(
    open_journal: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = [Spent(WINDOW, 0, 0)]
    journal = open_journal(spent=lambda: totals)
    journal.epoch(3)
    done = entry(40)
    intent = journal.intent(entry(100, done.id))
    broken(monkeypatch)
    assert journal.completed(done, intent) == intent
    totals[0] = Spent(WINDOW, 0, 40)
    monkeypatch.undo()
    journal.published([(done.id, intent)])
    journal.published([])
    assert len(segments(tmp_path)) <= 2, "one checkpoint is enough"
    again = open_journal()
    assert (spent(again), again.recovered.unpublished) == ([40], ())


def test_the_intent_of_a_refused_completion_stays_while_nothing_else_tells_of_it(
    open_journal: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(segment_bytes=600)
    done = entry(40)
    intent = journal.intent(entry(100, done.id))
    others = [entry(1) for _ in range(4)]
    journal.published(zip((other.id for other in others), ended(journal, *others), strict=True))
    broken(monkeypatch)
    journal.completed(done, intent)
    journal.published([(done.id, intent)])
    monkeypatch.undo()
    assert open_journal().recovered.without_end == 1


def test_two_processes_never_write_one_journal(open_journal: Opener, tmp_path: Path) -> None:
    open_journal()
    with pytest.raises(JournalLocked):
        Journal(tmp_path, segment_bytes=1024, limit_bytes=1024, spent=list, boot="")


def test_lost_attempts_are_counted_also_where_recovery_needs_several_segments(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    for _ in range(5):
        journal.intent(entry(100))
    open_journal(segment_bytes=600)
    assert spent(open_journal(segment_bytes=600)) == [500]


def test_records_are_numbered_over_segments_and_processes(open_journal: Opener) -> None:
    journal = open_journal(segment_bytes=600)
    journal.epoch(1)
    ended(journal, *(entry(1) for _ in range(5)))
    before = journal.last_record
    again = open_journal()
    assert again.recovered.last_record == before
    assert again.last_record > before


def test_a_crash_in_the_same_boot_leaves_the_whole_story(open_journal: Opener) -> None:
    open_journal().epoch(1)
    assert open_journal().recovered.is_whole


def test_a_crash_in_another_boot_does_not(open_journal: Opener) -> None:
    open_journal().epoch(1)
    assert not open_journal(boot="the next boot").recovered.is_whole


def test_where_the_machine_does_not_name_its_boot_no_crash_leaves_the_whole_story(open_journal: Opener) -> None:
    open_journal(boot="").epoch(1)
    assert not open_journal(boot="").recovered.is_whole


@pytest.mark.parametrize("boot", ["", "that boot"])
def test_what_was_closed_in_order_is_whole_in_any_boot(open_journal: Opener, boot: str) -> None:
    journal = open_journal(boot=boot)
    journal.epoch(1)
    journal.close()
    assert open_journal(boot="the next boot").recovered.is_whole


def test_a_missing_segment_is_a_gap(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal(segment_bytes=600)
    journal.epoch(1)
    ended(journal, *(entry(1) for _ in range(5)))
    (tmp_path / segments(tmp_path)[1]).unlink()
    assert not open_journal().recovered.is_whole


def test_a_journal_that_ends_early_states_an_older_last_record(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal()
    journal.epoch(1)
    ended(journal, entry(40))
    told = journal.last_record
    path = tmp_path / segments(tmp_path)[-1]
    path.write_bytes(b"".join(path.read_bytes().rstrip(b"\0").splitlines(keepends=True)[:-1]))
    assert open_journal().recovered.last_record == told - 1


def test_what_later_processes_write_before_their_epoch_makes_the_story_no_longer(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(1)
    last = journal.last_record
    for _ in range(3):
        open_journal()
    recovered = open_journal().recovered
    assert (recovered.last_record, recovered.is_whole) == (last, True)


def test_a_wiped_journal_states_no_record(open_journal: Opener, tmp_path: Path) -> None:
    open_journal().epoch(1)
    for name in segments(tmp_path):
        (tmp_path / name).unlink()
    recovered = open_journal().recovered
    assert (recovered.epoch, recovered.last_record) == (0, 0)


@pytest.mark.parametrize("end", [killed, Journal.close])
def test_a_lost_story_is_not_whole_for_a_process_that_ends_before_its_epoch(
    open_journal: Opener, end: Callable[[Journal], None]
) -> None:
    open_journal().epoch(1)
    end(open_journal(boot="the next boot"))
    assert not open_journal(boot="the next boot").recovered.is_whole


def test_a_new_epoch_begins_a_new_story(open_journal: Opener) -> None:
    open_journal().epoch(1)
    open_journal(boot="the next boot").epoch(2)
    assert open_journal(boot="the next boot").recovered.is_whole


def test_a_journal_of_leases_is_read_and_is_not_the_whole_story(open_journal: Opener, tmp_path: Path) -> None:
    done, lost = new_id(), new_id()
    write_leases(tmp_path / "segment-000000000001.journal", done, lost)
    journal = open_journal()
    recovered = journal.recovered
    assert (recovered.is_whole, recovered.epoch, recovered.spent, recovered.without_end) == (False, 4, (), 1)
    found = {id_: journal.entry(place) for id_, place in recovered.unpublished}
    assert found[done] == Entry(done, (), Amount(40, 1, 9), "ann", NOW, b'{"x":1}')
    assert found[lost].settled == Amount(100, 1, 50)
    assert segments(tmp_path)[0] == "segment-000000000001.journal", "it is no damage"


def write_leases(path: Path, done: UUID, lost: UUID) -> None:
    """A segment as the version before wrote it."""
    lease = {"lease": str(UUID(int=7)), "shares": [[str(UUID(int=8)), 0, 1000]], "spent": [0, 0, 0]}
    shared = {"lease": str(UUID(int=7)), "key": "ann", "time": NOW.isoformat(), "event": {"x": 1}}
    lines = [
        ("checkpoint", {"epoch": 3, "leases": [lease]}),
        ("epoch", {"epoch": 4}),
        ("lease", lease),
        ("intent", {"attempt": str(done), "amount": [100, 1, 50], **shared}),
        ("completed", {"attempt": str(done), "amount": [40, 1, 9], **shared}),
        ("intent", {"attempt": str(lost), "amount": [100, 1, 50], **shared}),
    ]
    rests = [b"%s %s" % (kind.encode(), orjson.dumps(payload)) for kind, payload in lines]
    path.write_bytes(b"".join(b"%08x %s\n" % (crc32(rest), rest) for rest in rests))
