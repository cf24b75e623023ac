"""Putting a wrong charge right: new ledger entries beside it, never a change of it."""
