"""The open event contract of Farebox.

    from farebox.events import ThresholdCrossed, decode

    envelope = decode(headers=record.headers, value=record.value)
    match envelope.event:
        case ThresholdCrossed() as crossed: ...

CloudEvents 1.0 in Kafka's binary mode: the attributes are `ce_*` headers, the value is the event's JSON. A type
carries its version; within a version fields are only ever added, with a default. JSON Schemas are in
`libs/common/schemas/`, the rules for subscribers in `docs/events.md`.
"""

from farebox.events.account import AccountPolicyChanged
from farebox.events.budget import (
    AccountRef,
    BalanceChanged,
    BudgetEvent,
    BudgetExhausted,
    BudgetOverLimit,
    BudgetState,
    BudgetWindow,
    Locale,
    Measure,
    ThresholdCrossed,
    ThresholdMark,
    ThresholdResolved,
)
from farebox.events.envelope import (
    CONTENT_TYPE,
    CloudEvent,
    Envelope,
    Undecodable,
    decode,
    headers_of,
    value_of,
)
from farebox.events.price import CatalogueAsOf, PriceListed
from farebox.events.usage import (
    BillingTerms,
    CallAttributes,
    Held,
    HeldWindow,
    LeaseUse,
    Measured,
    PricedAs,
    Principal,
    RequestCompleted,
    SuspenseReason,
    UsagePriced,
)

__all__ = [
    "CONTENT_TYPE",
    "AccountPolicyChanged",
    "AccountRef",
    "BalanceChanged",
    "BillingTerms",
    "BudgetEvent",
    "BudgetExhausted",
    "BudgetOverLimit",
    "BudgetState",
    "BudgetWindow",
    "CallAttributes",
    "CatalogueAsOf",
    "CloudEvent",
    "Envelope",
    "Held",
    "HeldWindow",
    "LeaseUse",
    "Locale",
    "Measure",
    "Measured",
    "PriceListed",
    "PricedAs",
    "Principal",
    "RequestCompleted",
    "SuspenseReason",
    "ThresholdCrossed",
    "ThresholdMark",
    "ThresholdResolved",
    "Undecodable",
    "UsagePriced",
    "decode",
    "headers_of",
    "value_of",
]
