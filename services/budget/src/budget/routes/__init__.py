"""The budget service's HTTP: the lease API for gateways, and the administrative API behind the gateway's `/api`."""

from collections.abc import Sequence

from starlette.routing import BaseRoute

from budget.leases import Leases
from budget.routes.accounts import account_routes
from budget.routes.budgets import budget_routes
from budget.routes.keys import key_routes
from budget.routes.leases import lease_routes
from budget.routes.office import Office


def routes(office: Office, leases: Leases) -> Sequence[BaseRoute]:
    return [*lease_routes(leases), *account_routes(office), *key_routes(office), *budget_routes(office)]
