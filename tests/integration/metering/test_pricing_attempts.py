"""From `request.completed` to the ledger and `usage.priced`."""

from support.attempts import VND, attempt
from support.books import Books


async def test_an_attempt_is_priced_into_the_ledger(books: Books) -> None:
    event = attempt(billing=VND)
    await books.send(event)
    async with books.replica():
        [entry] = await books.entries(1)
    assert entry["entry_id"] == event.attempt_id
    assert (entry["cost_nano_usd"], entry["amount_nano"], entry["currency"]) == (6_250_000, 151_043_750_000, "VND")


async def test_what_is_announced_is_what_is_in_the_ledger(books: Books) -> None:
    event = attempt()
    await books.send(event)
    async with books.replica():
        [priced] = await books.priced(1)
        [entry] = await books.entries(1)
    assert (priced.entry_id, priced.billed_nano) == (entry["entry_id"], entry["amount_nano"])
    assert (priced.cost_nano_usd, priced.price_version) == (entry["cost_nano_usd"], entry["price_version"])
    assert (priced.held, priced.principal, priced.tokens) == (event.held, event.principal, 1_000)
