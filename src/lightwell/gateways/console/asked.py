"""What policy is asked at each address of the console's API: its part of the matrix.

The framework's routes carry no action of their own, so they stand here; an address that does not is an error
of the matrix (`app/matrix.py`), and the build fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lightwell.access.actions import Action
from lightwell.gateways.http.routes import Open

ASKED: Final[Mapping[str, Action | Open]] = MappingProxyType(
    {
        "GET /api/v1/me": Open.RECOGNISED,
        "GET /api/v1/tenants": Action.TENANTS_TENANT_LIST,
        "GET /api/v1/studies": Action.ARCHIVE_STUDY_QUERY,
        "GET /api/v1/studies/{study_uid}": Action.ARCHIVE_STUDY_QUERY,
        "GET /api/v1/stats": Action.ARCHIVE_STATISTICS_READ,
        "GET /api/v1/jobs": Action.WORK_JOB_LIST,
        "GET /api/v1/jobs/counts": Action.WORK_JOB_LIST,
        "POST /api/v1/jobs/{job}/retry": Action.WORK_JOB_RETRY,
        "POST /api/v1/jobs/{job}/cancel": Action.WORK_JOB_CANCEL,
        "POST /api/v1/sign-in/password": Open.PUBLIC,
        "POST /api/v1/sign-in/link": Open.PUBLIC,
        "POST /api/v1/sign-in/passkey-options": Open.PUBLIC,
        "POST /api/v1/sign-in/passkey": Open.PUBLIC,
        "POST /api/v1/sign-in/enrolment": Open.PUBLIC,
        "POST /api/v1/sign-in/enrol": Open.PUBLIC,
        "GET /api/v1/sign-in/page": Open.PUBLIC,
        "GET /api/v1/sign-in/providers": Open.PUBLIC,
        "GET /api/v1/sign-in/provider/{name}": Open.PUBLIC,
        "GET /api/v1/sign-in/provider/{name}/callback": Open.PUBLIC,
        "POST /api/v1/sign-out": Open.PUBLIC,
        "POST /api/v1/token": Open.PUBLIC,
        "GET /api/v1/prove": Action.PEOPLE_SELF_READ,
        "POST /api/v1/prove/password": Action.PEOPLE_SESSION_PROVE,
        "POST /api/v1/prove/passkey-options": Action.PEOPLE_SESSION_PROVE,
        "POST /api/v1/prove/provider": Action.PEOPLE_SESSION_PROVE,
        "POST /api/v1/prove/passkey": Action.PEOPLE_SESSION_PROVE,
        "GET /api/v1/glass": Action.PEOPLE_SELF_READ,
        "POST /api/v1/glass": Action.PEOPLE_GLASS_BREAK,
        "GET /api/v1/glass/openings": Action.PEOPLE_GLASS_LIST,
        "POST /api/v1/glass/openings/{opening_id}/end": Action.PEOPLE_GLASS_END,
        "POST /api/v1/glass/openings/{opening_id}/review": Action.PEOPLE_GLASS_REVIEW,
        "GET /api/v1/people": Action.PEOPLE_PERSON_LIST,
        "POST /api/v1/people": Action.PEOPLE_PERSON_ADD,
        "PATCH /api/v1/people/{login}": Action.PEOPLE_PERSON_CHANGE,
        "POST /api/v1/people/{login}/enrolment": Action.PEOPLE_LINK_CREATE,
        "GET /api/v1/people/{login}/standing": Action.PEOPLE_RELATION_LIST,
        "POST /api/v1/people/{login}/relations": Action.PEOPLE_RELATION_CHANGE,
        "POST /api/v1/people/{login}/relations/end": Action.PEOPLE_RELATION_CHANGE,
        "PUT /api/v1/people/{login}/limits/{limit}": Action.PEOPLE_RELATION_CHANGE,
        "POST /api/v1/people/{login}/seal": Action.PEOPLE_SEAL_CHANGE,
        "GET /api/v1/providers": Action.PEOPLE_PROVIDER_LIST,
        "POST /api/v1/providers": Action.PEOPLE_PROVIDER_ADD,
        "PATCH /api/v1/providers/{name}": Action.PEOPLE_PROVIDER_CHANGE,
        "DELETE /api/v1/providers/{name}": Action.PEOPLE_PROVIDER_REMOVE,
        "POST /api/v1/providers/{name}/test": Action.PEOPLE_PROVIDER_TEST,
        "POST /api/v1/links": Action.PEOPLE_LINK_CREATE,
        "GET /api/v1/keys": Action.PEOPLE_KEY_LIST,
        "POST /api/v1/keys": Action.PEOPLE_KEY_CREATE,
        "DELETE /api/v1/keys/{key}": Action.PEOPLE_KEY_REVOKE,
        "GET /api/v1/sessions": Action.PEOPLE_SESSION_LIST,
        "POST /api/v1/sessions/end": Action.PEOPLE_SESSION_REVOKE,
        "DELETE /api/v1/sessions/{session}": Action.PEOPLE_SESSION_REVOKE,
        "GET /api/v1/me/sessions": Action.PEOPLE_SELF_READ,
        "POST /api/v1/me/sessions/end": Action.PEOPLE_SELF_CHANGE,
        "GET /api/v1/policies": Action.POLICY_RULE_LIST,
        "PUT /api/v1/policies": Action.POLICY_RULE_CHANGE,
        "DELETE /api/v1/policies/{name}": Action.POLICY_RULE_CHANGE,
        "GET /api/v1/explain": Action.POLICY_DECISION_EXPLAIN,
        "POST /api/v1/tenants": Action.TENANTS_TENANT_CREATE,
        "GET /api/v1/tenants/details": Action.TENANTS_TENANT_LIST,
        "GET /api/v1/regions": Action.TENANTS_TENANT_LIST,
        "PUT /api/v1/tenants/{name}/suspension": Action.TENANTS_TENANT_SUSPEND,
        "DELETE /api/v1/tenants/{name}/suspension": Action.TENANTS_TENANT_SUSPEND,
        "GET /api/v1/tenants/{name}/erasure": Action.TENANTS_TENANT_LIST,
        "POST /api/v1/tenants/{name}/erasure": Action.TENANTS_TENANT_ERASE,
        "PUT /api/v1/tenants/{name}/quota": Action.TENANTS_TENANT_LIMIT,
        "PUT /api/v1/tenants/{name}/names": Action.TENANTS_TENANT_NAME,
        "PATCH /api/v1/tenant": Action.TENANTS_TENANT_CONFIGURE,
        "GET /api/v1/tenant/consent": Action.POLICY_RULE_LIST,
        "PUT /api/v1/tenant/consent": Action.TENANTS_SUPPORT_CONSENT,
        "GET /api/v1/peers": Action.PEERS_PEER_LIST,
        "PUT /api/v1/peers": Action.PEERS_PEER_ADD,
        "POST /api/v1/peers/remove": Action.PEERS_PEER_REMOVE,
        "GET /api/v1/peers/door": Action.PEERS_DOOR_READ,
        "POST /api/v1/peers/echo": Action.PEERS_PEER_PROBE,
        "POST /api/v1/peers/trial-image": Action.PEERS_PEER_PROBE,
    }
)
