"""The budget service's HTTP: the lease API for gateways, and the administrative API behind the gateway's `/api`."""

from collections.abc import Sequence

from starlette.routing import BaseRoute

from budget.accounts.keys import key_routes
from budget.accounts.routes import account_routes
from budget.administration import Office
from budget.budgets.routes import budget_routes
from budget.shares.operations import Leases
from budget.shares.routes import lease_routes


def routes(office: Office, leases: Leases) -> Sequence[BaseRoute]:
    return [*lease_routes(leases), *account_routes(office), *key_routes(office), *budget_routes(office)]
