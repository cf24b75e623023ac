"""What this gateway holds of budget windows: its half of the protocol, without I/O."""
