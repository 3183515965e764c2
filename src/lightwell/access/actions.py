"""Every act there is, as `room:resource:verb`, alphabetised. Policy, audit and documentation use these."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """What can be done. The comment is what an auditor reads."""

    ARCHIVE_ASIDE_LIST = "archive:aside:list"  # read what is held, in conflict or unreadable
    ARCHIVE_COMMITMENT_REQUEST = "archive:commitment:request"  # asked us to take responsibility
    ARCHIVE_INDEX_REBUILD = "archive:index:rebuild"  # made the index anew from the store
    ARCHIVE_INSTANCE_RETRIEVE = "archive:instance:retrieve"  # was given a lease to read images
    ARCHIVE_INSTANCE_STORE = "archive:instance:store"  # stored an object
    ARCHIVE_SERIES_COOL = "archive:series:cool"  # moved a pack to the cool store
    ARCHIVE_SERIES_SETTLE = "archive:series:settle"  # packed a quiet series
    ARCHIVE_STATISTICS_READ = "archive:statistics:read"  # read totals
    ARCHIVE_STORE_CHECK = "archive:store:check"  # checked what is kept against its invariants
    ARCHIVE_STUDY_CORRECT = "archive:study:correct"  # corrected patient or study attributes
    ARCHIVE_STUDY_QUERY = "archive:study:query"  # searched
    ARCHIVE_STUDY_RECALL = "archive:study:recall"  # moved packs back from the cool store
    ARCHIVE_STUDY_REJECT = "archive:study:reject"  # took images out of every clinical list
    ARCHIVE_STUDY_RESTORE = "archive:study:restore"  # put rejected images back
    ARCHIVE_STUDY_UNDO = "archive:study:undo"  # undid a correction
    PEERS_PEER_ADD = "peers:peer:add"  # let a machine in, or changed what it may do
    PEERS_PEER_ECHO = "peers:peer:echo"  # asked whether we are here
    PEERS_PEER_LIST = "peers:peer:list"  # read the list of machines
    PEERS_PEER_REMOVE = "peers:peer:remove"  # shut a machine out
    TENANTS_TENANT_CONFIGURE = "tenants:tenant:configure"  # chose how a tenant's images are kept
    TENANTS_TENANT_CREATE = "tenants:tenant:create"  # made a tenant
    TENANTS_TENANT_LIST = "tenants:tenant:list"  # read the list of tenants
    WORK_JOB_CANCEL = "work:job:cancel"  # ended background work before its time
    WORK_JOB_LIST = "work:job:list"  # read how background work is doing
    WORK_JOB_RETRY = "work:job:retry"  # had failed background work done again
