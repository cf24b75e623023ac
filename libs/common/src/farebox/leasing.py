"""The words a gateway and the budget service exchange about leases (DESIGN §4). Wire types only, no rule.

A lease is the right to spend up to an amount in every hard budget on a request's path. It is granted once, under an id
that the gateway chose, and never grows; more need is a further lease. Everything a gateway says is *cumulative* (spent
so far, returned so far), so that a lost, repeated or reordered message changes nothing.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from farebox.events import AccountRef, BillingTerms, Measure, Principal
from farebox.events.budget import Figure, Mode
from farebox.events.usage import Currency, Name, NanoAmount


class Wire(BaseModel):
    """A message between services of one deployment: both ends are upgraded within one release of each other."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Attributes(Wire):
    """What a budget may be narrowed to. Null means any."""

    provider: Name | None = None
    model: Name | None = None
    feature: Name | None = None
    session: Name | None = None


class Need(Wire):
    """An amount before the billing currency is known: cost in nano-USD, calls, tokens."""

    cost_nano_usd: NanoAmount
    requests: Annotated[int, Field(ge=0)]
    tokens: Annotated[int, Field(ge=0)]


class Amounts(Wire):
    """An amount in the units budgets measure: nano-units of the billing currency, calls, tokens."""

    money: Figure = 0
    requests: Figure = 0
    tokens: Figure = 0

    def of(self, measure: Measure) -> int:
        match measure:
            case "money":
                return self.money
            case "requests":
                return self.requests
            case "tokens":
                return self.tokens

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            money=self.money + other.money,
            requests=self.requests + other.requests,
            tokens=self.tokens + other.tokens,
        )


class LeaseReport(Wire):
    """What became of a lease so far, as the gateway knows it: both figures only ever grow.

    `spent` is the sum of settled calls; a call under way counts nothing yet. `returned` is how much, per budget, the
    gateway has given back for good; the service takes the greater of this and what it heard before.
    """

    lease_id: UUID
    spent: Amounts
    returned: dict[UUID, Figure] = Field(default_factory=dict)


class GrantRequest(Wire):
    """Asks for a lease for one key, in three figures, each at least the one before it.

    `least`: the smallest amount that admits the request at hand (with clamping: its input and `min_output_tokens`; else
    the same as `need`). `need`: its worst case in full. `want`: what the gateway would like to hold ahead of need. The
    answer holds ≥ `need` where that fits, else whatever is left if that is ≥ `least`, else it is a refusal.

    `reports` are taken first, so that rights lying idle at this very gateway cannot be the reason for a refusal.
    """

    gateway_id: Name
    epoch: Annotated[int, Field(ge=1)]
    lease_id: UUID
    key_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    attributes: Attributes
    least: Need
    need: Need
    want: Need
    reports: tuple[LeaseReport, ...] = ()


class Share(Wire):
    """A lease's part in one hard budget window, in the budget's measure."""

    budget_id: UUID
    measure: Measure
    granted: Figure


class Lease(Wire):
    """A granted lease. `valid_for_ms` counts from the answer's receipt, on the gateway's monotonic clock."""

    lease_id: UUID
    shares: tuple[Share, ...]
    valid_for_ms: int | None


class PathBudget(Wire):
    """A budget on a key's path, as the gateway needs it: whether to hold a lease, and what to tell the caller."""

    budget_id: UUID
    name: str
    account: AccountRef
    measure: Measure
    currency: Currency | None
    mode: Mode
    narrowed_to: Attributes
    limit: Figure
    spent: int
    held: Figure
    resets_at: AwareDatetime | None


class Policy(Wire):
    """All a gateway knows of a key. Cached for `fresh_for_ms`, dropped early when `account.policy` names its path."""

    principal: Principal
    billing: BillingTerms
    language: Literal["vi", "ko", "en"]
    zone: Name
    clamp: bool
    min_output_tokens: Annotated[int, Field(ge=1)]
    allowed_models: tuple[Name, ...] | None
    blocked_models: tuple[Name, ...]
    budgets: tuple[PathBudget, ...]
    fresh_for_ms: Annotated[int, Field(ge=0)]


RefusalCode = Literal["budget_exceeded", "insufficient_balance", "quota_exceeded"]


class Refusal(Wire):
    """The first budget on the path, from the platform down, that cannot carry `least`.

    `is_recalling`: other gateways hold rights in it that may lie idle, and have been asked for them; what they give
    back is there within a heartbeat or two, so asking once more then is worth it.
    """

    code: RefusalCode
    budget_id: UUID
    is_recalling: bool = False


class GrantAnswer(Wire):
    """`lease` is null when refused, or when no hard budget applies (then nothing needs holding)."""

    policy: Policy
    lease: Lease | None = None
    refusal: Refusal | None = None


class StartRequest(Wire):
    """A gateway comes up. `last_epoch` is what its journal knows, 0 for a new journal; `reports` close its old leases.

    Where `last_epoch` is the newest the service knows, every older lease without a report was never used and returns
    whole. Where it is older, the journal is not the whole story and unreported leases go to suspense.
    """

    gateway_id: Name
    last_epoch: Annotated[int, Field(ge=0)]
    reports: tuple[LeaseReport, ...] = ()


class StartAnswer(Wire):
    """The new epoch; every call of an older one is answered with 409 `fenced`."""

    epoch: Annotated[int, Field(ge=1)]


class Heartbeat(Wire):
    """Every 1–2 s: what happened to the gateway's leases since.

    `given_up` are leases that were asked for and never answered: they may have been granted, or be granted yet,
    and will never be used. Said again until no such request can be under way.
    """

    gateway_id: Name
    epoch: Annotated[int, Field(ge=1)]
    reports: tuple[LeaseReport, ...] = ()
    given_up: tuple[UUID, ...] = ()


class HeartbeatAnswer(Wire):
    """Leases whose idle rights another gateway needs: to be returned with the next heartbeat, which follows at once."""

    recalled: tuple[UUID, ...] = ()
