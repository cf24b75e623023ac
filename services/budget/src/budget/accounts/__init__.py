"""The tree platform → org → team → user → key, its settings and its API keys."""
