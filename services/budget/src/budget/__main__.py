"""`python -m budget [--check | --migrate]`."""

from budget.app import migrate, run
from budget.settings import BudgetSettings
from farebox.process import main

if __name__ == "__main__":
    main("budget", BudgetSettings, run, migrate)
