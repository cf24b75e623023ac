"""The page for subscribers says what the models say."""

from pathlib import Path

import pytest

from farebox.events import CloudEvent
from farebox.events.reference import BEGIN, END, rendered

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")


def test_the_committed_page_is_current() -> None:
    assert rendered(PAGE) == PAGE


def test_the_page_has_every_type() -> None:
    assert all(f"### `{name}`" in PAGE for name in CloudEvent.registry())


def test_what_people_wrote_around_the_tables_stays() -> None:
    page = rendered(f"before\n{BEGIN}\nold\n{END}\nafter")
    assert page.startswith(f"before\n{BEGIN}\n")
    assert page.endswith(f"\n{END}\nafter")
    assert "\nold\n" not in page


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}", f"{END}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        rendered(page)
