"""Thresholds, exhaustion and overruns: judged, noted, told."""
