from pathlib import Path

from chaos.crashes import crashes

TRACEBACK = (
    'Traceback (most recent call last):\n  File "journal.py", line 321, in _set_aside\n    pop(number)\nKeyError: 1\n'
)


def test_an_uncaught_exception_is_told_with_the_process_that_died_of_it(tmp_path: Path) -> None:
    (tmp_path / "gateway-2.log").write_text(f'{{"event": "began"}}\n{TRACEBACK}{{"event": "began"}}\n')
    assert list(crashes(tmp_path)) == ["gateway-2 died of an error: KeyError: 1"]


def test_an_exception_that_was_caught_and_logged_is_none(tmp_path: Path) -> None:
    (tmp_path / "budget.log").write_text(
        '{"event": "call_failed", "exception": "Traceback (most recent call last):\\n"}\n'
    )
    assert not list(crashes(tmp_path))
