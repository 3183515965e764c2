"""PostgreSQL: the embedded server, roles and migrations, the group commit, the index, the sequencer.

The only database engine there is. Doors connect as `lightwell_app`, which owns nothing and cannot
bypass row-level security; background work as `lightwell_work`; migrations as `lightwell_owner`.
"""
