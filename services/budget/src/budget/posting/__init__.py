"""What priced entries do to windows and shares."""
