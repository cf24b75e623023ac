from farebox.process import main
from notifier.app import migrate_schema, run
from notifier.settings import NotifierSettings

if __name__ == "__main__":
    main("notifier", NotifierSettings, run, migrate_schema)
