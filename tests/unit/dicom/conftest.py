"""Hypothesis without deadlines: a loaded machine is no defect of the code under test."""

from hypothesis import settings

settings.register_profile("lightwell", deadline=None)
settings.load_profile("lightwell")
