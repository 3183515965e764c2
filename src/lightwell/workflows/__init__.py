"""Durable work over several rooms. Its first bodies (settling a series) come with issue B; the seam is
the change feed, which is written and sequenced from the first instance on.
"""
