"""What gateways learn of accounts without asking."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from farebox.events.budget import AccountKind
from farebox.events.envelope import CloudEvent
from farebox.events.usage import Name


class AccountPolicyChanged(CloudEvent):
    """Something a gateway may have cached about this account, or any below it, is out of date.

    A revoked key is refused at once; for the rest the gateway asks again before the next request.
    """

    type: ClassVar[str] = "farebox.account.policy_changed.v1"

    account_id: Name
    kind: AccountKind
    revision: Annotated[int, Field(ge=1)]
    status: Literal["active", "revoked"] = "active"
