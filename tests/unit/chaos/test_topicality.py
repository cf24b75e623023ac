"""On a compacted topic the last record of a key must be the newest: an older one that comes late is found."""

from datetime import timedelta

from farebox.events import BalanceChanged, PriceListed
from farebox.pricing import PriceRow
from support.chaos_run import NOON, World


def listed(*prices: tuple[int, str]) -> PriceListed:
    rows = tuple(
        PriceRow(
            id=f"row {number}",
            provider="openai",
            model="gpt-4o-mini",
            effective_from=NOON + timedelta(seconds=number),
            rates={"input": usd, "output": "0.6"},
            source="api",
        )
        for number, usd in prices
    )
    return PriceListed(provider="openai", model="gpt-4o-mini", rows=rows)


def test_a_catalogue_that_ends_with_the_newest_price_is_right() -> None:
    world = World()
    world.see(catalogue={"gpt-4o-mini": listed((1, "3"), (2, "0.15"))})
    world.run.tariff.put("gpt-4o-mini", world.rate(cached=150))
    assert world.found() == set()


def test_a_catalogue_that_ends_with_an_older_price_is_found() -> None:
    world = World()
    world.see(catalogue={"gpt-4o-mini": listed((1, "3"))})
    assert world.found() == {"outdated record"}


def test_a_balance_followed_by_an_older_one_is_found() -> None:
    world = World()
    state = world.evidence.events[0].event.budget
    newer, older = (
        BalanceChanged(budget=state.model_copy(update={"revision": revision, "spent": 1})) for revision in (3, 2)
    )
    world.see(balances=[older, newer])
    assert world.found() == set()
    world.see(balances=[newer, older])
    assert world.found() == {"outdated record"}
