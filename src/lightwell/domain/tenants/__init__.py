"""Tenants: whose installation this is, and by which AE title, host or path each is called.

Every row, object key, cache entry and log line carries its tenant. A name is for ever: it is part of
object keys. `default` exists from the first start, `demo` when somebody asks for the demonstration.
"""
