"""`python -m chaos [--faults 300] [--seed 7]`: run, print the table, end with 1 if anything is wrong.

`--parts 10` makes of a long run ten shorter ones, kept in a file: what was interrupted goes on with the next part.
`--mutant NAME` runs a wrong version of a service, which must be found: that ends with 1, as everything that is found.
"""

import argparse
import asyncio
import contextlib
import logging
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from chaos.figures import SEED_STEP, Figures, Results, lengths, planned_seed
from chaos.mutants.catalogue import MUTANTS, mutant_named
from chaos.mutants.mutant import Mutant, planted
from chaos.report import figures, stories, table
from chaos.run import Order, Result, run
from chaos.schedule import SPACING_S, Fault, only, schedule

NOT_FOUND = 3
"""How a run of a mutant ends that nobody found."""


def main() -> None:
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what this is about
    if arguments.mutant:
        raise SystemExit(_hunt(arguments))
    parts = _in_parts(arguments) if arguments.parts > 1 else [_one(arguments)]
    print(table(parts))
    if wrong := [story for part in parts for story in part.stories]:
        print("\n" + "\n".join(wrong))
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="the schedule and the load; drawn if not given")
    parser.add_argument("--parts", type=int, default=1, help="so many runs with that many faults together")
    parser.add_argument("--results", type=Path, default=Path(".farebox/chaos.json"), help="where parts are kept")
    parser.add_argument("--mutant", default="", help="a wrong version of a service, or `all` of them")
    parser.add_argument("--sound", action="store_true", help="the run of a mutant with nothing wrong")
    parser.add_argument("--per-s", type=float, default=60.0, help="calls a second (%(default)s)")
    parser.add_argument("--spacing-s", type=float, default=SPACING_S, help="between faults, on average (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=2.0, help="load before and after the faults (%(default)s)")
    parser.add_argument("--only", default="", help="comma-separated places of the schedule, from 0: just these faults")
    parser.add_argument("--kinds", default="", help="comma-separated kinds: just these faults")
    parser.add_argument("--folder", type=Path, default=None, help="state; a temporary folder if not given")
    parser.add_argument("--quietly", action="store_true", help="no line for each fault")
    return parser.parse_args()


def _one(arguments: argparse.Namespace) -> Figures:
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    return _part(arguments, seed, arguments.faults)


def _in_parts(arguments: argparse.Namespace) -> Sequence[Figures]:
    """Those that the file lacks, one after the other."""
    file: Path = arguments.results
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = arguments.seed if arguments.seed is not None else planned_seed(file)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    sizes = lengths(arguments.faults, arguments.parts)
    results = Results(file, seed=seed, lengths=sizes)
    print(f"seed {seed}: {len(results.parts)} of {len(sizes)} parts are in {file}", flush=True)
    for place in range(len(results.parts), len(sizes)):
        results.add(_part(arguments, seed + place * SEED_STEP, sizes[place]))
    return results.parts


def _part(arguments: argparse.Namespace, seed: int, count: int) -> Figures:
    faults = _chosen(schedule(seed, count, spacing_s=arguments.spacing_s), arguments)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="farebox-chaos-"))
    order = Order(folder, seed, faults, arguments.per_s, calm_s=arguments.calm_s)
    print(f"seed {seed}, {len(faults)} faults, state in {folder}", flush=True)
    kept = figures(_ran(order, quietly=arguments.quietly))
    if kept.stories:
        kept.stories += [f"state and logs are kept in {folder}", f"again: make chaos SEED={seed} FAULTS={count}"]
    elif arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return kept


def _chosen(faults: list[Fault], arguments: argparse.Namespace) -> list[Fault]:
    if arguments.only:
        faults = only(faults, [int(place) for place in arguments.only.split(",")])
    kinds = arguments.kinds.split(",") if arguments.kinds else []
    return [fault for fault in faults if not kinds or fault.kind in kinds]


def _hunt(arguments: argparse.Namespace) -> int:
    """1 if every mutant was found by a sentence meant for it, as a run ends that finds something; else NOT_FOUND."""
    mutants = MUTANTS if arguments.mutant == "all" else [mutant_named(arguments.mutant)]
    found = {mutant.name: _kinds_of(mutant, arguments) for mutant in mutants}
    missed = [mutant.name for mutant in mutants if not set(mutant.found_by) & found[mutant.name]]
    for name, kinds in found.items():
        told = ", ".join(sorted(kinds)) or "nothing"
        print(f"{name}: {'NOT FOUND; ' if name in missed and not arguments.sound else ''}found {told}")
    if arguments.sound:
        return int(any(found.values()))
    return NOT_FOUND if missed else 1


def _kinds_of(mutant: Mutant, arguments: argparse.Namespace) -> set[str]:
    """What a run finds."""
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix=f"farebox-{mutant.name}-"))
    order = Order(
        folder,
        arguments.seed or 1,
        mutant.schedule,
        mutant.per_s,
        calm_s=mutant.calm_s,
        mix=mutant.mix,
        orgs=mutant.orgs,
    )
    how = "nothing is wrong" if arguments.sound else mutant.what
    print(f"{mutant.name}: {how}; state in {folder}", flush=True)
    with contextlib.nullcontext() if arguments.sound else planted(mutant, folder / "mutant"):
        result = _ran(order, quietly=arguments.quietly)
    print("\n".join(stories(result)))
    if arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return {finding.kind for finding in result.verdict.findings}


def _ran(order: Order, *, quietly: bool) -> Result:
    began = time.monotonic()

    def say(line: str) -> None:
        if not quietly:
            print(f"[{time.monotonic() - began:6.1f}] {line}", flush=True)

    return uvloop.run(_stopped_by_signals(order, say))


async def _stopped_by_signals(order: Order, say: Callable[[str], None]) -> Result:
    """SIGTERM and Ctrl-C end the run, and with it everything it started."""
    work = asyncio.ensure_future(run(order, say))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    return await work


if __name__ == "__main__":
    main()
