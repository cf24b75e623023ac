"""A second opinion on prices: what LiteLLM's open price list says of 46 models. MIT licensed; needed by tests only."""
