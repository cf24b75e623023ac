"""`python -m gateway [--check]`."""

from farebox.process import main
from gateway.app import run
from gateway.settings import GatewaySettings

if __name__ == "__main__":
    main("gateway", GatewaySettings, run)
