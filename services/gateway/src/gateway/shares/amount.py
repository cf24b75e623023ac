"""What budgets measure."""

from typing import Final, NamedTuple

from farebox.shares import Need


class Amount(NamedTuple):
    """Nano-units of the billing currency, calls, tokens."""

    money: int = 0
    requests: int = 0
    tokens: int = 0

    def within(self, other: "Amount") -> bool:
        return self.money <= other.money and self.requests <= other.requests and self.tokens <= other.tokens

    def beyond(self, other: "Amount") -> "Amount":
        """What there is of this above another, in each measure."""
        return Amount(
            max(0, self.money - other.money),
            max(0, self.requests - other.requests),
            max(0, self.tokens - other.tokens),
        )

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.money + other.money, self.requests + other.requests, self.tokens + other.tokens)

    def joined(self, other: "Amount") -> "Amount":
        """The greater of both, in each measure."""
        return Amount(max(self.money, other.money), max(self.requests, other.requests), max(self.tokens, other.tokens))

    def need(self, cost_nano_usd: int) -> Need:
        """As asked for before the billing currency is known."""
        return Need(cost_nano_usd=cost_nano_usd, requests=self.requests, tokens=self.tokens)


NOTHING: Final = Amount()
