"""A mutant is a patch of today's source."""

import os
from pathlib import Path

import pytest

from chaos.mutants.catalogue import MUTANTS, mutant_named
from chaos.mutants.mutant import VARIABLE, Mutant, Patch, PatchMissing, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_replaces_what_is_there_by_something_that_compiles(mutant: Mutant, tmp_path: Path) -> None:
    assert mutant.patches
    with planted(mutant, tmp_path):
        for patch in mutant.patches:
            text = (tmp_path / patch.service / patch.file).read_text()
            assert patch.new in text
            if patch.file.endswith(".py"):
                compile(text, patch.file, "exec")


def test_a_patch_of_text_that_is_gone_or_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("a = 1\nb = 1\n")
    for old in ("c = 1", "= 1"):
        with pytest.raises(PatchMissing, match=r"gateway/rules\.py"):
            Patch("gateway", "rules.py", old, "").apply(tmp_path)


def test_what_is_started_finds_the_mutant_first_and_only_while_it_is_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    with planted(MUTANTS[0], tmp_path):
        assert os.environ[VARIABLE] == f"{tmp_path}:/elsewhere"
    assert os.environ[VARIABLE] == "/elsewhere"


def test_an_unknown_mutant_is_told_the_names_there_are() -> None:
    with pytest.raises(LookupError, match=MUTANTS[0].name):
        mutant_named("none")
