"""An attempt in the books: intent, settlement, event."""
