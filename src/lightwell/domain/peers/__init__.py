"""Peers: the machines at the door (`clinical.md` 11).

Owns who they are (AE title, address, type, site, issuer), what they may do, and the answer to "who
is calling?". An AE title alone is never identity: an unencrypted peer is pinned to its address, an
encrypted one to its certificate. A change acts on the next association.
"""
