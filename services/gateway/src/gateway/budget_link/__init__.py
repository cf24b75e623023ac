"""The connection to the budget service: starts, raises and beats."""
