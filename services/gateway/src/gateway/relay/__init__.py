"""A provider's answer on its way back to the caller."""
