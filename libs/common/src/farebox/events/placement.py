"""Where each event type travels: its topic, and what its record's key is.

Apart from the types themselves, so that who only reads or makes events need not load a Kafka client.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from farebox import topics
from farebox.events.account import AccountPolicyChanged
from farebox.events.budget import (
    BalanceChanged,
    BudgetExhausted,
    BudgetOverLimit,
    ThresholdCrossed,
    ThresholdResolved,
)
from farebox.events.envelope import EventType
from farebox.events.price import AS_OF_KEY, CatalogueAsOf, PriceListed
from farebox.events.usage import RequestCompleted, UsagePriced


@dataclass(frozen=True, slots=True)
class Placement:
    """The topic of a type; in words its key, whose records keep their order, and its `ce_subject`."""

    topic: topics.Topic
    key: str
    subject: str


_USER: Final = "user id, or the key's id where a key belongs to no user"
_MODEL: Final = "`provider/model`"
_AS_OF: Final = f"`{AS_OF_KEY}`"
_ACCOUNT: Final = "account id"


def _of_budget(topic: topics.Topic) -> Placement:
    return Placement(topic, key="budget id", subject="id of the budget's account")


PLACEMENTS: Final[Mapping[EventType, Placement]] = MappingProxyType(
    {
        RequestCompleted: Placement(topics.REQUEST_COMPLETED, _USER, _USER),
        UsagePriced: Placement(topics.USAGE_PRICED, _USER, _USER),
        ThresholdCrossed: _of_budget(topics.BUDGET_EVENTS),
        ThresholdResolved: _of_budget(topics.BUDGET_EVENTS),
        BudgetExhausted: _of_budget(topics.BUDGET_EVENTS),
        BudgetOverLimit: _of_budget(topics.BUDGET_EVENTS),
        BalanceChanged: _of_budget(topics.BUDGET_BALANCES),
        PriceListed: Placement(topics.PRICE_CATALOGUE, _MODEL, _MODEL),
        CatalogueAsOf: Placement(topics.PRICE_CATALOGUE, _AS_OF, _AS_OF),
        AccountPolicyChanged: Placement(topics.ACCOUNT_POLICY, _ACCOUNT, _ACCOUNT),
    }
)
