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
    ARCHIVE_STUDY_MARK = "archive:study:mark"  # marked a study as sensitive, or took the mark away
    ARCHIVE_STUDY_QUERY = "archive:study:query"  # searched
    ARCHIVE_STUDY_RECALL = "archive:study:recall"  # moved packs back from the cool store
    ARCHIVE_STUDY_REJECT = "archive:study:reject"  # took images out of every clinical list
    ARCHIVE_STUDY_RESTORE = "archive:study:restore"  # put rejected images back
    ARCHIVE_STUDY_UNDO = "archive:study:undo"  # undid a correction
    PEERS_DOOR_READ = "peers:door:read"  # read what the DICOM door counts and whom it turned away
    PEERS_PEER_ADD = "peers:peer:add"  # let a machine in, or changed what it may do
    PEERS_PEER_ECHO = "peers:peer:echo"  # asked whether we are here
    PEERS_PEER_LIST = "peers:peer:list"  # read the list of machines
    PEERS_PEER_PROBE = "peers:peer:probe"  # called a machine: does it answer, does it take an image
    PEERS_PEER_REMOVE = "peers:peer:remove"  # shut a machine out
    PEOPLE_GLASS_BREAK = "people:glass:break"  # opened one patient in an emergency
    PEOPLE_GLASS_END = "people:glass:end"  # ended such an opening before its time
    PEOPLE_GLASS_LIST = "people:glass:list"  # read what was opened in emergencies
    PEOPLE_GLASS_REVIEW = "people:glass:review"  # judged such an opening afterwards
    PEOPLE_KEY_CREATE = "people:key:create"  # gave a program a key
    PEOPLE_KEY_LIST = "people:key:list"  # read the list of programs that hold keys
    PEOPLE_KEY_REVOKE = "people:key:revoke"  # took a program's key away
    PEOPLE_LINK_CREATE = "people:link:create"  # made a one-time sign-in link
    PEOPLE_PERSON_ADD = "people:person:add"  # made an account
    PEOPLE_PERSON_CHANGE = "people:person:change"  # changed roles, or shut or opened an account
    PEOPLE_PERSON_LIST = "people:person:list"  # read the list of accounts
    PEOPLE_PROVIDER_ADD = "people:provider:add"  # trusted an identity provider
    PEOPLE_PROVIDER_CHANGE = "people:provider:change"  # switched an identity provider on or off
    PEOPLE_PROVIDER_LIST = "people:provider:list"  # read the list of identity providers
    PEOPLE_PROVIDER_REMOVE = "people:provider:remove"  # trusted an identity provider no longer
    PEOPLE_PROVIDER_TEST = "people:provider:test"  # asked whether an identity provider answers
    PEOPLE_RELATION_CHANGE = "people:relation:change"  # said whose patients are whose, or a limit
    PEOPLE_RELATION_LIST = "people:relation:list"  # read whose patients are whose
    PEOPLE_SEAL_CHANGE = "people:seal:change"  # sealed an emergency account
    PEOPLE_SELF_CHANGE = "people:self:change"  # changed what oneself signs in with
    PEOPLE_SELF_READ = "people:self:read"  # read one's own account and sessions
    PEOPLE_SESSION_LIST = "people:session:list"  # read who is signed in
    PEOPLE_SESSION_OPEN = "people:session:open"  # signed in, or tried to
    PEOPLE_SESSION_PROVE = "people:session:prove"  # proved again who one is, or tried to
    PEOPLE_SESSION_REVOKE = "people:session:revoke"  # ended somebody's session
    POLICY_DECISION_EXPLAIN = "policy:decision:explain"  # asked why somebody may or may not
    POLICY_RULE_CHANGE = "policy:rule:change"  # wrote or removed a policy of the tenant
    POLICY_RULE_LIST = "policy:rule:list"  # read the policies in force
    TENANTS_SUPPORT_CONSENT = "tenants:support:consent"  # let support in for a while, or ended that
    TENANTS_TENANT_CONFIGURE = "tenants:tenant:configure"  # chose how a tenant looks, keeps images
    TENANTS_TENANT_CREATE = "tenants:tenant:create"  # made a tenant
    TENANTS_TENANT_ERASE = "tenants:tenant:erase"  # erased a tenant and all that it kept
    TENANTS_TENANT_EXPORT = "tenants:tenant:export"  # wrote out all that a tenant keeps
    TENANTS_TENANT_LIMIT = "tenants:tenant:limit"  # said how much a tenant may keep
    TENANTS_TENANT_LIST = "tenants:tenant:list"  # read the list of tenants
    TENANTS_TENANT_NAME = "tenants:tenant:name"  # said by which titles and hosts a tenant is called
    TENANTS_TENANT_SUSPEND = "tenants:tenant:suspend"  # suspended a tenant, or resumed it
    WORK_JOB_CANCEL = "work:job:cancel"  # ended background work before its time
    WORK_JOB_LIST = "work:job:list"  # read how background work is doing
    WORK_JOB_RETRY = "work:job:retry"  # had failed background work done again
