"""The budget service's HTTP: the share API for gateways, and the administrative API behind the gateway's `/api`."""

from collections.abc import Sequence

from starlette.routing import BaseRoute

from budget.accounts.keys import key_routes
from budget.accounts.routes import account_routes
from budget.administration import Administration
from budget.budgets.routes import budget_routes
from budget.posting.uncertain import uncertain_routes
from budget.shares.operations import Shares
from budget.shares.raises import Raises
from budget.shares.routes import share_routes


def routes(administration: Administration, shares: Shares, raises: Raises) -> Sequence[BaseRoute]:
    return [
        *share_routes(shares, raises),
        *account_routes(administration),
        *key_routes(administration),
        *budget_routes(administration),
        *uncertain_routes(administration.store, administration.clock, administration.wake),
    ]
