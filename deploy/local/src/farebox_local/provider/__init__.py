"""A demo LLM provider: a real HTTP server with the OpenAI and Anthropic dialects and a bill of its own.

Its bill is the ground truth that tests hold the ledger against, so it shares no code with gateway or metering.
"""
