"""The shapes of the APIs that callers and providers speak, and what they say of usage."""
