"""The public HTTP surface: model calls, and `/api` passed on to the other services."""
