"""What the gateway knows of keys, budgets and prices: caches of what other services own."""
