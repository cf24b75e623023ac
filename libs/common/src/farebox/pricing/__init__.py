"""What a model call costs: usage × rates, a pure function shared by estimate, routing, reserve and ledger.

    usage      disjoint counts of one call
    rates      integer rates of one model during one interval
    price      usage × rates → Charge, or Unpriced with its reason
    reserve    the most a call within bounds can cost
    row        an override, as the price API and `price.catalogue` carry it
    capacity   how much a model takes in and gives out
    seed       genai-prices' catalogue, compiled model by model
    catalogue  which rates apply to a provider, model, instant and org

Instants are arguments: a call is priced at the instant its attempt started, in every service.
"""

from farebox.pricing.catalogue import Catalogue
from farebox.pricing.price import Charge, Line, Unpriced, UnpricedReason, explain, price, price_known, price_unit
from farebox.pricing.rates import STANDARD, Mode, Rates, RateTable
from farebox.pricing.reserve import ALL_BUCKETS, ANYTHING, TEXT_BUCKETS, Exposure, worst_case, worst_case_usage
from farebox.pricing.row import ContextTier, PriceRow, ServiceTier
from farebox.pricing.seed import SEED_VERSION
from farebox.pricing.usage import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, Bucket, Usage, UsageSource

__all__ = [
    "ALL_BUCKETS",
    "ANYTHING",
    "BUCKETS",
    "INPUT_BUCKETS",
    "OUTPUT_BUCKETS",
    "SEED_VERSION",
    "STANDARD",
    "TEXT_BUCKETS",
    "Bucket",
    "Catalogue",
    "Charge",
    "ContextTier",
    "Exposure",
    "Line",
    "Mode",
    "PriceRow",
    "RateTable",
    "Rates",
    "ServiceTier",
    "Unpriced",
    "UnpricedReason",
    "Usage",
    "UsageSource",
    "explain",
    "price",
    "price_known",
    "price_unit",
    "worst_case",
    "worst_case_usage",
]
