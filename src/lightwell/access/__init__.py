"""Who may do what, for whom, and the record of it.

Owns the `Context` every front door takes first, the list of actions, the policy decision, the audit
record, the `ChangeSet` a use case returns, and the one way to a success answer (`acknowledge`).
Knows nothing of images, peers or protocols.
"""
