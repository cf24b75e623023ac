"""The budget service's HTTP: the share API for gateways, and the administrative API behind the gateway's `/api`."""

from collections.abc import Sequence

from starlette.routing import BaseRoute

from budget.accounts.keys import key_routes
from budget.accounts.routes import account_routes
from budget.administration import Office
from budget.budgets.routes import budget_routes
from budget.posting.uncertain import uncertain_routes
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.shares.routes import share_routes


def routes(office: Office, shares: Shares, raises: Raises) -> Sequence[BaseRoute]:
    return [
        *share_routes(shares, raises),
        *account_routes(office),
        *key_routes(office),
        *budget_routes(office),
        *uncertain_routes(office.store, office.clock, office.wake),
    ]
