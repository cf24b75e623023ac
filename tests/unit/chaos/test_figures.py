"""A long run in parts: what is over is kept, and what is added up is the sum."""

from pathlib import Path

import pytest

from chaos.figures import Figures, Results, added, lengths, planned_seed
from chaos.report import table


def part(seed: int, lost: int) -> Figures:
    return Figures(seed, 3, {"zero: lost": lost}, {"gateway killed → ready": [1.0]}, [], 10.0)


def test_faults_are_spread_over_parts_without_a_rest() -> None:
    assert lengths(10, 3) == [4, 3, 3]


def test_parts_add_up() -> None:
    whole = added([part(1, 0), part(2, 5)])
    assert (whole.faults, whole.counts["zero: lost"], whole.samples["gateway killed → ready"]) == (6, 5, [1.0, 1.0])


def test_an_interrupted_run_goes_on_after_the_parts_that_are_over(tmp_path: Path) -> None:
    file = tmp_path / "parts.json"
    Results(file, seed=7, lengths=[3, 3]).add(part(7, 2))
    assert Results(file, seed=7, lengths=[3, 3]).parts == [part(7, 2)]
    assert planned_seed(file) == 7


def test_the_parts_of_another_run_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "parts.json"
    Results(file, seed=7, lengths=[3, 3]).add(part(7, 2))
    with pytest.raises(ValueError, match="another run"):
        Results(file, seed=8, lengths=[3, 3])


def test_one_table_has_the_seeds_of_all_parts_and_the_sums() -> None:
    shown = table([part(1, 1), part(2, 2)])
    assert "1, 2" in shown
    assert any("**lost**" in line and line.split("|")[2].strip() == "3" for line in shown.splitlines())
