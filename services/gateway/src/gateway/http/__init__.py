"""The public door: model calls, and `/api` passed on to the other services."""
