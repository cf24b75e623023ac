"""The fault harness: all of Farebox under load and faults, held against what the world outside wrote down."""
