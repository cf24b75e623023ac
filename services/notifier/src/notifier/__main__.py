"""`python -m notifier [--check | --migrate]`."""

from farebox.process import main
from notifier.app import migrate, run
from notifier.settings import NotifierSettings

if __name__ == "__main__":
    main("notifier", NotifierSettings, run, migrate)
