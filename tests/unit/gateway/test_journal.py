import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from farebox.ids import new_id
from gateway.admission.estimate import Amount
from gateway.errors import JournalFull, JournalLocked
from gateway.journal.journal import Journal
from gateway.journal.record import Entry
from gateway.journal.replay import Place
from gateway.shares.leases import Share, Total

LEASE = UUID(int=7)
BUDGET = UUID(int=8)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
IN_HAND = Total(LEASE, (Share(BUDGET, 0, 1000),), Amount())

Opener = Callable[..., Journal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Opener]:
    """Opens the test's journal; opening it again stands for the next process after a SIGKILL."""
    opened: list[Journal] = []

    def open_(**settings: Any) -> Journal:
        while opened:
            opened.pop().close()
        bounds = {"segment_bytes": 1 << 20, "limit_bytes": 1 << 30, "totals": lambda: [IN_HAND], **settings}
        opened.append(Journal(tmp_path, **bounds))
        return opened[-1]

    yield open_
    for journal in opened:
        journal.close()


def entry(money: int, id_: UUID | None = None, lease: UUID | None = LEASE) -> Entry:
    return Entry(id_ or new_id(), lease, Amount(money, 1, money), "ann", NOW, b'{"x":1}')


def ended(journal: Journal, *entries: Entry) -> list[Place]:
    """Attempts that were begun and have ended."""
    return [journal.completed(each, journal.intent(each)) for each in entries]


def full(patch: pytest.MonkeyPatch, *, room: int = 0) -> None:
    """The disk takes no record that is longer."""
    write = os.write

    def bounded(file: int, data: bytes) -> int:
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    patch.setattr(os, "write", bounded)


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*segment-*"))


def spent(journal: Journal) -> list[int]:
    return [total.spent.money for total in journal.recovered.leases]


def test_a_new_journal_knows_nothing(open_journal: Opener) -> None:
    recovered = open_journal().recovered
    assert (recovered.epoch, recovered.leases, recovered.unpublished, recovered.is_whole) == (0, (), (), True)


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


def test_an_intent_nobody_saw_the_end_of_is_completed_at_its_worst_case(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    journal.lease(IN_HAND)
    lost = entry(100)
    journal.intent(lost)
    again = open_journal()
    assert again.recovered.charged_at_worst == 1
    assert spent(again) == [100]
    ((_, place),) = again.recovered.unpublished
    assert again.entry(place) == lost


def test_the_worst_case_is_charged_once_over_several_crashes(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    journal.lease(IN_HAND)
    journal.intent(entry(100))
    open_journal()
    again = open_journal()
    assert again.recovered.charged_at_worst == 0
    assert spent(again) == [100]
    assert len(again.recovered.unpublished) == 1


def test_spending_of_a_lease_is_summed_over_segments(open_journal: Opener) -> None:
    totals = [IN_HAND]
    journal = open_journal(segment_bytes=600, totals=lambda: totals)
    journal.epoch(3)
    journal.lease(IN_HAND)
    for count in range(1, 6):
        done = entry(10)
        journal.completed(done, journal.intent(entry(100, done.id)))
        totals[0] = IN_HAND._replace(spent=Amount(10 * count))
    again = open_journal()
    assert again.recovered.epoch == 3
    assert spent(again) == [50]


def test_an_epoch_ends_the_leases_before_it(open_journal: Opener) -> None:
    journal = open_journal()
    journal.lease(IN_HAND)
    journal.epoch(2)
    again = open_journal(totals=list)
    assert (again.recovered.epoch, again.recovered.leases) == (2, ())


def test_leases_not_yet_reported_survive_another_crash(open_journal: Opener) -> None:
    journal = open_journal(totals=list)
    journal.epoch(1)
    journal.lease(IN_HAND)
    open_journal(totals=list)
    assert len(open_journal(totals=list).recovered.leases) == 1


def test_a_torn_last_line_is_no_damage(open_journal: Opener, tmp_path: Path) -> None:
    ended(open_journal(), entry(40))
    with (tmp_path / segments(tmp_path)[-1]).open("ab") as file:
        file.write(b"0123 intent {")
    recovered = open_journal().recovered
    assert recovered.is_whole
    assert len(recovered.unpublished) == 1


def test_a_damaged_segment_is_set_aside_and_what_can_be_read_is_kept(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal()
    kept = entry(40)
    ended(journal, kept)
    ended(journal, entry(50))
    path = tmp_path / segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b'"amount":[50', b'"amount":[51'))
    again = open_journal()
    assert not again.recovered.is_whole
    assert [id_ for id_, _ in again.recovered.unpublished] == [kept.id]
    assert segments(tmp_path)[0].startswith("damaged-segment-")
    assert open_journal().recovered.is_whole


def test_segments_are_deleted_when_all_of_them_is_published(open_journal: Opener, tmp_path: Path) -> None:
    journal = open_journal(segment_bytes=300, totals=list)
    done = [entry(10) for _ in range(4)]
    places = ended(journal, *done)
    before = len(segments(tmp_path))
    journal.published([(each.id, place) for each, place in zip(done[1:], places[1:], strict=True)])
    assert len(segments(tmp_path)) >= before, "the oldest still holds an event"
    journal.published([(done[0].id, places[0])])
    journal.close()
    assert len(segments(tmp_path)) <= 2


def test_a_full_journal_refuses_and_is_as_before(open_journal: Opener) -> None:
    journal = open_journal(limit_bytes=2048)
    ended(journal, entry(1))
    with pytest.raises(JournalFull):
        ended(journal, *(entry(1) for _ in range(100)))
    assert journal.problems()
    assert open_journal(limit_bytes=1024).recovered.is_whole


def test_a_disk_that_takes_half_a_record_leaves_none(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
    with pytest.raises(JournalFull):
        journal.intent(entry(1))
    monkeypatch.undo()
    ended(journal, entry(1))
    assert open_journal().recovered.is_whole


def test_a_disk_without_room_is_told_and_tried_again(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    full(monkeypatch)
    with pytest.raises(JournalFull):
        journal.intent(entry(1))
    assert "No space left on device" in journal.problems()[0]
    monkeypatch.undo()
    assert journal.problems() == []
    journal.intent(entry(1))
    assert open_journal().recovered.is_whole


def test_a_disk_is_no_better_for_taking_short_records(open_journal: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal()
    done = entry(40)
    place = journal.intent(done)
    full(monkeypatch, room=120)
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(JournalFull):
                journal.intent(entry(1))
            journal.published([(done.id, place)])
            assert journal.problems()
        monkeypatch.undo()
        assert journal.problems() == []
    assert [line["event"] for line in lines] == ["journal_not_writable", "journal_writable_again"]


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
    totals = [IN_HAND]
    journal = open_journal(totals=lambda: totals)
    journal.epoch(3)
    journal.lease(IN_HAND)
    done = entry(40)
    intent = journal.intent(entry(100, done.id))
    full(monkeypatch)
    assert journal.completed(done, intent) == intent
    totals[0] = IN_HAND._replace(spent=Amount(40))
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
    full(monkeypatch)
    journal.completed(done, intent)
    journal.published([(done.id, intent)])
    monkeypatch.undo()
    assert open_journal().recovered.charged_at_worst == 1


def test_two_processes_never_write_one_journal(open_journal: Opener, tmp_path: Path) -> None:
    open_journal()
    with pytest.raises(JournalLocked):
        Journal(tmp_path, segment_bytes=1024, limit_bytes=1024, totals=list)


def test_worst_cases_are_counted_also_where_recovery_needs_several_segments(open_journal: Opener) -> None:
    journal = open_journal()
    journal.epoch(3)
    journal.lease(IN_HAND)
    for _ in range(5):
        journal.intent(entry(100))
    open_journal(segment_bytes=600)
    assert spent(open_journal(segment_bytes=600)) == [500]
