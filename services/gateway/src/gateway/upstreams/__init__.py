"""Where model calls may go: the operator's list of providers, and the connections to them."""
