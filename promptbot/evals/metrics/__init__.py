"""Metrics: pure functions of what was wanted and what was answered, and the list of them."""
