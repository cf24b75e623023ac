"""Wrong versions of the real services, which the fault harness must find."""
