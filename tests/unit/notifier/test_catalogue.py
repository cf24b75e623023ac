from string import Formatter

import pytest

from notifier.catalogue import LANGUAGES, texts


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_with_the_same_values(language: str) -> None:
    said = {key: placeholders(text) for key, text in texts(language).items()}
    assert said == {key: placeholders(text) for key, text in texts("en").items()}


@pytest.mark.parametrize("language", ["vi", "ko"])
def test_no_text_was_left_in_english(language: str) -> None:
    same = {key for key, text in texts(language).items() if text == texts("en")[key]}
    assert same <= {"format.ratio", "unit.tokens_one"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_of_two_lines(language: str) -> None:
    assert all(text.strip() == text and text and "\n" not in text for text in texts(language).values())
