"""Durable work over several rooms. What starts it is the
change feed, which is written and sequenced from the first instance on.
"""
