"""Whether a call may be made: its worst case, and the reservation that holds it."""
