"""What a hard budget promises where it is hardest to keep: bills above their reserve, twins, and lost journals."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from farebox.money import NANO
from support.eventually import eventually
from support.fake_budget import FakeAccount, FakeBudget
from support.gateway import GatewayProcess, chat
from support.provider import DemoProvider

DEAR = {"prompt-tokens": "900000"}
"""Billed 2.25 USD, which its few words are no reserve for."""
TEN_CENTS = pytest.mark.parametrize("own_service", [{"limit": NANO // 10}], indirect=True)


@TEN_CENTS
async def test_a_budget_is_closed_by_the_first_bill_above_its_reserve(
    own_gateway: GatewayProcess, own_account: FakeAccount, api_key: str, provider: DemoProvider
) -> None:
    """Nothing is ever posted here: the gateway does not wait for the ledger."""
    first = await chat(own_gateway, api_key, max_tokens=10, orders=DEAR)
    assert first.status_code == 200
    later = await asyncio.gather(*(chat(own_gateway, api_key, max_tokens=10, orders=DEAR) for _ in range(80)))
    assert {each.status_code for each in later} == {402}
    assert len(provider.bill()) == 1
    await eventually(lambda: own_account.held > 2 * NANO)


@pytest.mark.parametrize("own_service", [{"limit": NANO}], indirect=True)
async def test_a_bill_above_its_reserve_closes_the_budget_for_other_gateways_too(
    start_gateway: Any, api_key: str, own_account: FakeAccount
) -> None:
    one = start_gateway()
    other = start_gateway(place="other", instance="gateway-other")
    assert (await chat(one, api_key, max_tokens=10, orders=DEAR)).status_code == 200
    await eventually(lambda: own_account.held > 2 * NANO)
    assert (await chat(other, api_key, max_tokens=10)).status_code == 402


@pytest.mark.parametrize("own_service", [{"mode": "hard"}, {"mode": "soft"}], indirect=True, ids=["hard", "soft"])
async def test_a_fenced_gateway_admits_nothing(
    own_gateway: GatewayProcess, api_key: str, own_service: FakeBudget, provider: DemoProvider
) -> None:
    assert (await chat(own_gateway, api_key)).status_code == 200
    own_service.claim()
    await eventually(lambda: own_gateway.health("live").status_code == 503)
    assert "fenced" in own_gateway.health("live").text
    assert (await chat(own_gateway, api_key)).status_code == 503
    assert len(provider.bill()) == 1


async def test_of_two_gateways_with_one_name_the_older_stops(start_gateway: Any, api_key: str) -> None:
    older = start_gateway()
    assert (await chat(older, api_key)).status_code == 200
    newer = start_gateway(place="newer")
    await eventually(lambda: older.health("live").status_code == 503)
    assert (await chat(older, api_key)).status_code == 503
    assert (await chat(newer, api_key)).status_code == 200


def test_a_gateway_without_a_name_does_not_start() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAREBOX_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--check"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "FAREBOX_INSTANCE" in done.stdout + done.stderr


def segments(journal: Path) -> list[Path]:
    return sorted(journal.glob("segment-*"))


def untouched(journal: Path, earlier: Path, boot: Path) -> None:
    """Only the process was killed."""


def cut(journal: Path, earlier: Path, boot: Path) -> None:
    """The newest records are gone, and nothing says so."""
    newest = segments(journal)[-1]
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-2]))


def another_boot(journal: Path, earlier: Path, boot: Path) -> None:
    boot.write_text("after the power came back")


def copied_back(journal: Path, earlier: Path, boot: Path) -> None:
    shutil.rmtree(journal)
    shutil.copytree(earlier, journal)


def wiped(journal: Path, earlier: Path, boot: Path) -> None:
    shutil.rmtree(journal)


@pytest.mark.parametrize(
    ("harm", "is_lost"), [(untouched, False), (cut, True), (another_boot, True), (copied_back, True), (wiped, True)]
)
async def test_what_a_gateway_held_stays_held_unless_its_journal_tells_the_whole_story(
    start_gateway: Any,
    own_service: FakeBudget,
    own_account: FakeAccount,
    api_key: str,
    tmp_path: Path,
    harm: Callable[[Path, Path, Path], None],
    is_lost: bool,
) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("before the power went")
    gateway = start_gateway(boot_id_file=str(boot))
    assert (await chat(gateway, api_key)).status_code == 200
    shutil.copytree(gateway.journal, tmp_path / "earlier")
    assert (await chat(gateway, api_key)).status_code == 200
    await eventually(lambda: own_service.last_record() == last_number(gateway.journal))
    before = own_account.held
    gateway.kill()
    harm(gateway.journal, tmp_path / "earlier", boot)
    gateway.start()
    assert (own_account.suspended == before) == is_lost
    assert (own_account.held == before) == is_lost


def last_number(journal: Path) -> int:
    """Of the newest whole record."""
    *_, line = segments(journal)[-1].read_bytes().split(b"\n")[:-1]
    return int(line.split(b" ")[2])
