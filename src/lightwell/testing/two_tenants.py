"""Two customers of one running installation: everything a customer does once, written down, and every name
that came of it asked for by the other.

`Customer.work` is the scripted workload over DIMSE, DICOMweb, the console's API and the operator's commands.
`attempts` makes of the OpenAPI document every request in which such a name can stand: in the path, the query,
the body, a header. What is compared is the answer to somebody else's name and the answer to a name that is
nobody's: what those two have in common is all that a stranger may learn.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import quote

from lightwell.testing.builders import StudyBuilder, a_study
from lightwell.testing.channel import Message
from lightwell.testing.dimse_house import keys
from lightwell.testing.scu import STUDY_ROOT_FIND, Scu
from lightwell.testing.served import LOOPBACK, Served, wait_until
from lightwell.testing.sign_in import signed_in
from lightwell.wire.dimse.proposal import propose, propose_service

SECONDS: Final = 60.0
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # well-known: PS3.6 table A-1
JSON: Final = "application/json"
_CUT: Final = "two-tenants-cut"
MULTIPART: Final = f'multipart/related; type="application/dicom"; boundary={_CUT}'

Names = Mapping[str, str]
"""What there is of a customer, by what it is: 'study', 'series', 'instance', 'login', 'key', …"""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of one response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One kept connection to the web door, with a bearer token."""

    def __init__(self, port: int, token: str) -> None:
        self._token = token
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=SECONDS)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = JSON,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """One request; its whole answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind, **more}
        try:
            response = self._sent(method, path, body, headers)
        except (
            http.client.RemoteDisconnected,
            BrokenPipeError,
        ):  # kept for too long: nothing was heard
            self._connection.close()
            response = self._sent(method, path, body, headers)
        said = response.read()
        found = sorted((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, tuple(found), said)

    def _sent(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        self._connection.request(method, path, body, dict(headers))
        return self._connection.getresponse()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def uploaded(studies: Sequence[StudyBuilder]) -> bytes:
    """Part 10 objects as a body of the type `MULTIPART`."""
    return b"".join(
        b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (_CUT.encode(), built.part10)
        for study in studies
        for built in study.each()
    ) + b"--%s--\r\n" % _CUT.encode()  # fmt: skip


# --- a customer and its day ----------------------------------------------------------------------------


@dataclass
class Customer:
    """One tenant at work. Names of both customers are equally long, so that answers can be.

    `scanner_port`: where its machine takes reports of storage commitment.
    """

    served: Served
    name: str
    scanner_port: int = 0
    names: dict[str, str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)  # said nowhere else: none may reach the other
    tokens: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)  # of the workload, by request
    clients: dict[str, Client] = field(default_factory=dict)
    reports: list[Message] = field(default_factory=list)  # of storage commitment, as they came

    @property
    def prefix(self) -> str:
        """Where its addresses begin."""
        return f"/t/{self.name}"

    @property
    def scanner(self) -> str:
        """Calling AE title of its machine."""
        return f"{self.name.upper()}SCAN"

    def client(self, who: str = "program") -> Client:
        """'program': a key of an administrator; 'person': somebody who just signed in."""
        if who not in self.clients:
            self.clients[who] = Client(self.served.http_port, self.tokens[who])
        return self.clients[who]

    def ask(self, method: str, path: str, body: object = None, who: str = "program") -> Answer:
        """One request of its own, which has to be answered as it should be."""
        raw = None if body is None else json.dumps(body).encode()
        answer = self.client(who).ask(method, self.prefix + path, raw)
        if answer.status not in (200, 201, 202, 204):
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        self.answers[f"{method} {path}"] = answer
        return answer

    def work(self) -> None:
        """The whole day: store, search, read, correct, people, keys, policies, machines, emergencies."""
        self._sign_in()
        self._machines()
        self._images()
        self._people()
        self._read()
        self._jobs()

    def _sign_in(self) -> None:
        self.tokens["program"] = self.served.keys.bearer(self.name)
        made = self.served.run(
            "token", "create", "--role", "integration", "--name", f"router-{self.name}",
            "--tenant", self.name,
        )  # fmt: skip
        if made.returncode != 0:
            raise RuntimeError(made.stderr)
        self.tokens["router"] = made.stdout.strip().splitlines()[-1]

        async def person(house: Any) -> str:
            owner = house.operator(await house.tenants.named(self.name), "test")
            return await signed_in(house, owner, f"rad-{self.name}", ("admin", "radiologist"))

        self.tokens["person"] = self.served.within(person)
        self.names |= {"login": f"rad-{self.name}"}

    def _machines(self) -> None:
        machine = {"aet": self.scanner, "host": LOOPBACK, "port": self.scanner_port}
        self.ask("PUT", "/api/v1/peers", {**machine, "type": "workstation"})
        reader = {"aet": f"{self.name.upper()}READ", "host": "192.0.2.7", "port": 104}
        self.ask("PUT", "/api/v1/peers", {**reader, "type": "workstation"})
        self.names["aet"] = str(reader["aet"])
        time.sleep(1.5)  # so long a serving process may not have heard of a machine

    def _images(self) -> None:
        """One study by C-STORE, one by STOW-RS, a correction of the first."""
        word = f"Zz{self.name}"
        self.sent = a_study(f"{word}-1", name=f"{word}^Sent").with_series("CT", instances=2)
        self.sent = self.sent.with_attributes(
            AccessionNumber=f"{word}A1", StudyDescription=f"{word} head", StudyDate="20250301"
        )
        self.uploaded = a_study(f"{word}-2", name=f"{word}^Uploaded", seed=7)
        self.uploaded = self.uploaded.with_series("MR", instances=2)
        objects = self.sent.objects()
        (contexts,) = propose(((o.sop_class, o.syntax) for o in objects), fallback=False)
        with self.called(contexts) as scu:
            for one in objects:
                done = scu.store(one.sop_class, one.sop_uid, one.syntax, (one.dataset,))
                if done.status != 0:
                    raise RuntimeError(f"C-STORE: {done.status:04x}")
        body, client = uploaded([self.uploaded]), self.client()
        path = f"{self.prefix}/dicomweb/studies"
        answer = client.ask("POST", path, body, MULTIPART)
        if answer.status != 200:
            raise RuntimeError(f"STOW: {answer.status} {answer.body[:500]!r}")
        self.names |= {
            "study": self.sent.study_uid,
            "series": self.sent.series_uid(),
            "instance": self.sent.sop_uid(),
            "patient": f"{word}-1",
            "accession": f"{word}A1",
        }
        self.words |= {
            word,
            *(study.study_uid for study in (self.sent, self.uploaded)),
            *(built.series_uid for study in (self.sent, self.uploaded) for built in study.each()),
            *(built.sop_uid for study in (self.sent, self.uploaded) for built in study.each()),
        }
        corrected = self.served.run(
            "correct", "study", self.sent.study_uid, "--tenant", self.name,
            "--set", f"StudyDescription={word} neck", "--reason", "wrong body part",
        )  # fmt: skip
        if corrected.returncode != 0:
            raise RuntimeError(corrected.stderr)

    def called(self, contexts: Any) -> Scu:
        """Its machine, calling its archive."""
        return Scu(
            LOOPBACK, self.served.dimse_port, contexts, called_ae=self.name.upper(),
            calling_ae=self.scanner, timeout=SECONDS,
        )  # fmt: skip

    def _people(self) -> None:
        login = f"ward-{self.name}"
        self.ask("POST", "/api/v1/people", {"login": login, "roles": ["referrer"]})
        self.ask("PATCH", f"/api/v1/people/{login}", {"roles": ["referrer", "technologist"]})
        link = self.ask("POST", f"/api/v1/people/{login}/enrolment", {}).json()["secret"]
        key = self.ask("POST", "/api/v1/keys", {"name": login, "roles": ["integration"]}).json()
        policy = f"closed-{self.name}"
        text = f'@id("{policy}") @reason("{policy}") forbid (principal is Web, action, resource);'
        self.ask("PUT", "/api/v1/policies", {"text": text})
        self.ask("PUT", "/api/v1/tenant/consent", {"hours": 1})
        sessions = self.ask("GET", "/api/v1/sessions").json()
        glass = {"patient_id": self.names["patient"], "reason": f"stroke in the {self.name}"}
        opening = self.ask("POST", "/api/v1/glass", glass, who="person").json()
        self.names |= {
            "login": login, "link": link, "key": key["id"], "policy": policy,
            "session": sessions[0]["id"], "opening": opening["id"],
        }  # fmt: skip
        self.words |= {key["id"], sessions[0]["id"], opening["id"], glass["reason"]}

    def _read(self) -> None:
        """Every address of the archive that reads, with its own names: all of them have to answer."""
        study, series, instance = (self.names[each] for each in ("study", "series", "instance"))
        base = f"/dicomweb/studies/{study}"
        below = f"{base}/series/{series}"
        one = f"{below}/instances/{instance}"
        for path in (
            base, f"{base}/metadata", f"{base}/series", f"{base}/instances", f"{base}/thumbnail",
            below, f"{below}/metadata", f"{below}/instances", f"{below}/preview",
            one, f"{one}/metadata", f"{one}/frames/1", f"{one}/rendered", f"{one}/pixeldata",
            f"{one}/frames/1/rendered", f"{one}/bulkdata/7FE00010",
            f"/dicomweb/studies?StudyInstanceUID={study}", f"/dicomweb/series?SeriesInstanceUID={series}",
            f"/dicomweb/studies?PatientID={self.names['patient']}",
            f"/api/v1/studies/{study}", "/api/v1/studies", "/api/v1/stats", "/api/v1/people",
            "/api/v1/keys", "/api/v1/peers", "/api/v1/policies", "/api/v1/tenants",
        ):  # fmt: skip
            self.ask("GET", path)
        found = self.ask("GET", f"/dicomweb/studies?StudyInstanceUID={study}").json()
        if len(found) != 1:
            raise RuntimeError("the study that was sent is not found")
        etag = dict(self.answers[f"GET {base}/metadata"].headers).get("etag")
        if etag is None:
            raise RuntimeError("metadata have no entity tag")
        self.names["etag"] = etag
        with self.called(propose_service(STUDY_ROOT_FIND)) as scu:
            wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
            if len(list(scu.find(STUDY_ROOT_FIND, wanted))) != 2:
                raise RuntimeError("C-FIND does not find the study that was sent")

    def _jobs(self) -> None:
        def listed() -> list[Any]:
            return list(self.ask("GET", "/api/v1/jobs").json()["items"])

        job = wait_until(listed, SECONDS, "no series was settled")[0]["id"]
        self.names["job"] = job
        self.words.add(job)

    def state(self) -> dict[str, Any]:
        """What it can see of itself, without what passes by itself: times of last use, bytes kept."""
        seen = {}
        for path in (
            "/api/v1/people", "/api/v1/keys", "/api/v1/sessions", "/api/v1/policies",
            "/api/v1/peers", "/api/v1/tenant/consent", "/api/v1/tenants/details", "/api/v1/stats",
            "/api/v1/studies", "/api/v1/glass/openings", "/dicomweb/studies",
            f"/dicomweb/studies/{self.names['study']}/metadata",
        ):  # fmt: skip
            seen[path] = _still(self.ask("GET", path).json())
        return seen

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self.clients.values():
            client.close()
        self.clients.clear()


def _still(value: Any) -> Any:
    """JSON without what changes by itself."""
    if isinstance(value, dict):
        # A series that settles takes less room than it did as it landed, and nobody asked for it.
        passing = {"seen", "now", "last_used", "used", "bytes", "used_bytes"}
        return {name: _still(each) for name, each in value.items() if name not in passing}
    return [_still(each) for each in value] if isinstance(value, list) else value


# --- names that are nobody's ------------------------------------------------------------------------------


def nobodys(names: Names) -> dict[str, str]:
    """As many names, each of the same form and length, which nobody has."""
    return {what: _nobodys(what, name) for what, name in names.items()}


def _nobodys(what: str, name: str) -> str:
    try:
        uuid.UUID(name)
        return str(uuid.uuid4())
    except ValueError:
        pass
    if what in ("study", "series", "instance"):
        tail = "".join(secrets.choice("123456789") for _ in range(18))
        return name[:-18] + tail
    if what == "link":
        return name[:-20] + secrets.token_hex(10)
    if what == "etag":
        return name[:-5] + secrets.token_hex(2) + '"'
    letters = "abcdefghijkmnopq"

    def other(character: str) -> str:
        made = secrets.choice(letters)
        return made.upper() if character.isupper() else made if character.isalpha() else character

    return "".join(map(other, name))


# --- every request in which a name can stand ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, without a tenant's prefix. `own`: a name stands in it."""

    label: str
    method: str
    path: str
    body: bytes | None
    kind: str
    headers: tuple[tuple[str, str], ...]
    own: bool

    def by(self, client: Client, prefix: str) -> Answer:
        """What is answered."""
        return client.ask(self.method, prefix + self.path, self.body, self.kind, dict(self.headers))


# Parameter of a path -> name of a customer. One that is not here fails the tests: say what it is.
PARAMETERS: Final[Mapping[str, str]] = {
    "study": "study",
    "study_uid": "study",
    "series": "series",
    "instance": "instance",
    "login": "login",
    "key": "key",
    "session": "session",
    "job": "job",
    "opening_id": "opening",
}
FIXED: Final[Mapping[str, str]] = {"frames": "1", "path": "7FE00010", "limit": "modality"}
# A parameter that means another thing by its address.
AT: Final[Mapping[tuple[str, str], str]] = {
    ("/api/v1/policies/{name}", "name"): "policy",
    ("/api/v1/providers/{name}", "name"): "policy",
    ("/api/v1/providers/{name}/test", "name"): "policy",
    ("/api/v1/tenants/{name}/erasure", "name"): "tenant",
    ("/api/v1/tenants/{name}/names", "name"): "tenant",
    ("/api/v1/tenants/{name}/quota", "name"): "tenant",
    ("/api/v1/tenants/{name}/suspension", "name"): "tenant",
    ("/api/v1/sign-in/provider/{name}", "name"): "policy",
    ("/api/v1/sign-in/provider/{name}/callback", "name"): "policy",
}

_POLICY: Final = '@id("{policy}") @reason("x") forbid (principal is Web, action, resource);'
Bodies = Mapping[str, Mapping[str, object]]
# What is sent to each address that changes something; strings are filled with names.
BODIES: Final[Bodies] = {
    "POST /api/v1/people": {"login": "{login}", "roles": ["referrer"]},
    "PATCH /api/v1/people/{login}": {"disabled": True},
    "POST /api/v1/people/{login}/relations": {"kind": "treats", "name": "{patient}"},
    "POST /api/v1/people/{login}/relations/end": {"kind": "treats", "name": "{patient}"},
    "PUT /api/v1/people/{login}/limits/{limit}": {"values": ["CT"]},
    "POST /api/v1/people/{login}/seal": {"roles": ["radiologist"]},
    "POST /api/v1/providers": {
        "name": "{policy}",
        "issuer": "{patient}",
        "client_id": "x",
        "roles": {},
    },
    "PATCH /api/v1/providers/{name}": {"enabled": False},
    "POST /api/v1/tenants/{name}/erasure": {"name": "{tenant}", "reason": "{patient}"},
    "PUT /api/v1/tenants/{name}/names": {"titles": ["{aet}"], "hosts": []},
    "PUT /api/v1/tenants/{name}/quota": {"bytes": 0, "studies": 0},
    "PUT /api/v1/tenants/{name}/suspension": {"reason": "{patient}"},
    "POST /api/v1/token": {"grant_type": "client_credentials", "client_id": "{key}"},
    "POST /api/v1/links": {"roles": ["auditor"]},
    "POST /api/v1/keys": {"name": "{login}", "roles": ["integration"]},
    "POST /api/v1/sessions/end": {"of": "{login}"},
    "PUT /api/v1/policies": {"text": _POLICY},
    "POST /api/v1/tenants": {"name": "{policy}", "aet": "{aet}"},
    "PATCH /api/v1/tenant": {"settling": "settle"},
    "PUT /api/v1/tenant/consent": {"hours": 1},
    "PUT /api/v1/peers": {"aet": "{aet}", "host": "192.0.2.9", "port": 104},
    "POST /api/v1/peers/remove": {"aet": "{aet}"},
    "POST /api/v1/peers/echo": {"aet": "{aet}"},
    "POST /api/v1/peers/trial-image": {"aet": "{aet}"},
    "POST /api/v1/glass": {"patient_id": "{patient}", "reason": "stroke, nobody else is here"},
    "POST /api/v1/glass/openings/{opening_id}/review": {"verdict": "justified"},
    "POST /api/v1/sign-in/password": {"login": "{login}", "password": "wrong", "code": "000000"},
    "POST /api/v1/sign-in/link": {"token": "{link}"},
    "POST /api/v1/sign-in/enrolment": {"token": "{link}"},
    "POST /api/v1/sign-in/enrol": {"token": "{link}", "ticket": "x", "password": "x", "code": "1"},
}
QUERIES: Final[Mapping[str, Sequence[str]]] = {
    "/dicomweb/studies": (
        "StudyInstanceUID={study}", "PatientID={patient}", "AccessionNumber={accession}",
        "PatientName=Zz*&includefield=all", "SOPInstanceUID={instance}",
    ),
    "/dicomweb/series": ("SeriesInstanceUID={series}", "StudyInstanceUID={study}"),
    "/dicomweb/instances": ("SOPInstanceUID={instance}", "SeriesInstanceUID={series}"),
    "/api/v1/studies": ("q={patient}", "q={accession}", "q={study}", "cursor={study}"),
    "/api/v1/explain": ("login={login}", "role=auditor&study={study}"),
    "/api/v1/jobs": ("before={job}", "describe=true"),
    "/api/v1/glass/openings": ("before={opening}",),
}  # fmt: skip
METADATA: Final = "/dicomweb/studies/{study}/metadata"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def attempts(paths: Mapping[str, Mapping[str, Any]], names: Names) -> Iterator[Attempt]:
    """Every request that the OpenAPI's paths allow, with these names. Raises KeyError for a parameter or a
    changing address of which nobody has said what a stranger would put there."""
    for template in sorted(paths):
        for method in sorted(paths[template]):
            yield from _at(f"{method.upper()} {template}", method.upper(), template, names)
    for name, value in (
        ("if-none-match", names["etag"]),
        ("x-tenant", "{tenant}"),
        ("x-forwarded-host", "{tenant}"),
    ):
        made = _filled(METADATA, names)
        header = ((name, value.replace("{tenant}", names["tenant"])),)
        yield Attempt(f"GET {METADATA} {name}", "GET", made, None, JSON, header, own=True)


def _filled(template: str, names: Names) -> str:
    def value(match: re.Match[str]) -> str:
        what = match[1]
        if what in FIXED:
            return FIXED[what]
        return quote(names[AT.get((template, what)) or PARAMETERS[what]], safe="")

    return _PARAMETER.sub(value, template)


def _at(label: str, method: str, template: str, names: Names) -> Iterator[Attempt]:
    path = _filled(template, names)
    named = any(each not in FIXED for each in _PARAMETER.findall(template))
    if template.startswith("/dicomweb") and method == "POST":
        part10 = b"no object"  # whose objects they are is tried apart: they may be stored by both
        yield Attempt(label, method, path, part10, "application/dicom", (), named)
        return
    if method == "GET":
        yield Attempt(label, method, path, None, JSON, (), named)
        for query in QUERIES.get(template, ()):
            filled = _with(query, names, lambda value: quote(value, safe=""))
            yield Attempt(f"{label}?{query}", method, f"{path}?{filled}", None, JSON, (), True)
        return
    asked = BODIES.get(label, {})
    text = json.dumps({key: _body(value, names) for key, value in asked.items()})
    named = named or "{" in "".join(v for v in asked.values() if isinstance(v, str))
    yield Attempt(label, method, path, text.encode(), JSON, (), named)


def _body(value: object, names: Names) -> object:
    return _with(value, names, str) if isinstance(value, str) else value


def _with(text: str, names: Names, form: Callable[[str], str]) -> str:
    for what, name in names.items():
        text = text.replace("{" + what + "}", form(name))
    return text


# --- what can be compared ----------------------------------------------------------------------------------

_OURS: Final = (
    (re.compile(rb"lw[a-z]_[\w-]{43}"), b"SECRET"),
    (re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), b"TIME"),
    (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), b"UUID"),
    (re.compile(rb"[\w-]{40,}={0,2}"), b"RANDOM"),
)
_PASSING: Final = frozenset({"date", "x-lightwell-trace"})


def comparable(answer: Answer, names: Names) -> tuple[int, tuple[tuple[str, bytes], ...], bytes]:
    """An answer without the names that were asked for, the time, and what is random in each."""

    def plain(said: bytes) -> bytes:
        for what, name in sorted(names.items(), key=lambda pair: -len(pair[1])):
            for form in {name, quote(name, safe=""), json.dumps(name)[1:-1]}:
                said = said.replace(form.encode(), b"<%s>" % what.encode())
        for pattern, word in _OURS:
            said = pattern.sub(word, said)
        return said

    headers = tuple(
        (name, plain(value.encode("latin-1")))
        for name, value in answer.headers
        if name not in _PASSING
    )
    return answer.status, headers, plain(answer.body)


def open_paths(client: Client) -> dict[str, dict[str, Any]]:
    """The paths of the OpenAPI document of a running server."""
    return cast("dict[str, dict[str, Any]]", client.ask("GET", "/openapi.json").json()["paths"])
