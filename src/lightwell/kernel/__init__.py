"""Ids, time, errors and pages: what every floor may use. Standard library only."""
