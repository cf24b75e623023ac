"""`python -m metering [--check | --migrate]`."""

from farebox.process import main
from metering.app import migrate, run
from metering.settings import Settings

if __name__ == "__main__":
    main("metering", Settings, run, migrate)
