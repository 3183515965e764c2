"""People and programs: who signs in, with what, for how long.

Owns local accounts, keys of programs, sessions, one-time links, throttling, and a tenant's own policies.
What a role may do is not here: that is policy (`access/policies`). Hashing, sealing and WebAuthn are
asked of ports.
"""
