"""What gateways hold of budget windows: this service's half of the protocol."""
