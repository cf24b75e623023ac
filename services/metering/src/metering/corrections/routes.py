"""`POST /api/corrections`."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from farebox.auth import Role
from farebox.errors import Invalid
from farebox.http import JSON, body, caller
from farebox.ids import new_id
from metering.corrections.operations import Corrections, Wanted
from metering.corrections.rules import TrueAmount, TrueUsage, Truth

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewCorrection(BaseModel):
    """Body of POST /api/corrections: the attempt, and either its true usage or its true amount."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    correction_id: UUID | None = None
    attempt_id: UUID
    usage: dict[str, JsonValue] | None = None
    amount: Annotated[str, Field(max_length=64)] | None = None
    currency: Annotated[str, Field(max_length=64)] | None = None
    reason: Reason
    dry_run: StrictBool = False

    def wanted(self) -> Wanted:
        """Raises Invalid with every problem."""
        if problems := self._problems():
            raise Invalid(problems)
        return Wanted(self.correction_id or new_id(), self.attempt_id, self._truth(), self.reason, self.dry_run)

    def _problems(self) -> list[str]:
        found = []
        if self.correction_id is None and not self.dry_run:
            found.append("correction_id: give one of your own (a UUID), so that asking again does no harm")
        if (self.usage is None) == (self.amount is None):
            found.append("usage: give either usage or amount")
        if (self.amount is None) != (self.currency is None):
            found.append("currency: give amount and currency together")
        return found

    def _truth(self) -> Truth:
        if self.usage is not None:
            return TrueUsage(self.usage)
        return TrueAmount(self.amount or "", self.currency or "")


def correction_routes(corrections: Corrections) -> Sequence[BaseRoute]:
    async def make(request: Request) -> Response:
        caller(request).require(Role.PLATFORM_ADMIN)
        made = await corrections.make((await body(request, NewCorrection)).wanted())
        return JSON(made.answer, status_code=201 if made.is_new else 200)

    return [Route("/api/corrections", make, methods=["POST"])]
