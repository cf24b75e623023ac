"""Limits on accounts, and the windows in which they count."""
