"""Lightwell: an open picture archive and reading room. Start with ARCHITECTURE.md."""

__version__ = "0.1.0"
