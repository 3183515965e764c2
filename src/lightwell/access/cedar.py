"""Cedar policies: texts in, decisions with their reasons out. Pure; the one module that knows cedarpy.

The policy language is that of docs.cedarpolicy.com: default deny, a `forbid` that applies always wins.
Cedar skips a policy whose evaluation fails, which for a denial would open a door: here an error denies.

What a tenant has written binds `BOUND`: people, programs and machines. Our own work and the operator at the
machine answer to what ships alone, so that no policy of a tenant stops a start, or its own removal.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, TypeVar

import cedarpy

from lightwell.access.local_time import TIMES, Moment
from lightwell.kernel.errors import Invalid

log = logging.getLogger("lightwell.access")

TEXT_LIMIT: Final = 16 * 1024  # of one tenant's policy
POLICIES_LIMIT: Final = 1000  # of one tenant
TEXTS_LIMIT: Final = (
    256 * 1024
)  # of all policies of one tenant: what is parsed for one question at most
# Of one policy. Cedar's checks take the square of conditions and of chains, and brackets that are deep enough
# end the process: 800 of them have.
CONDITIONS_LIMIT: Final = 50  # '&&', '||', 'if', 'when' and 'unless'
TOKENS_LIMIT: Final = 1000  # words and signs
NESTING_LIMIT: Final = 20  # brackets in brackets, and names in a chain of dots
STORED_NESTING_LIMIT: Final = 100  # of what an earlier version has taken
DEPTH_LIMIT: Final = 120  # of a policy as JSON: fifty conditions in a row are 106
BOUND: Final = frozenset({"Person", "Program", "Peer"})  # by what a tenant has written
REMEMBERED: Final = 4096  # questions of one set
OWN_SETS: Final = 64  # selections of a tenant's own policies of one set
ANYBODY: Final = "\N{BULLET}"  # no login, AE title or key is called so
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")

T = TypeVar("T")
Entity = tuple[str, str]  # type, id


@dataclass(frozen=True, slots=True)
class Question:
    """One request: everything a policy can look at. Hashable, so that equal ones are answered once.

    Attributes are (name, value) pairs; a value is a text, a truth or an Entity. `moment`: what policies that
    can apply look at of the time of day, so that an answer is remembered for just as long.
    """

    principal: Entity
    parents: frozenset[Entity]
    attributes: tuple[tuple[str, str | Entity], ...]
    action: str
    resource: Entity
    resource_attributes: tuple[tuple[str, bool], ...]
    context: tuple[tuple[str, str | bool], ...]
    resource_parents: frozenset[Entity] = frozenset()
    moment: Moment = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Allowed or not, and the ids of the policies that decided. `failed`: evaluation went wrong."""

    allowed: bool
    policies: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as an auditor sees it."""

    name: str
    effect: str  # 'permit' or 'forbid'
    reason: str
    shipped: bool
    text: str = ""  # as it was written


_CANNOT_BE_READ: Final = "cannot be read, so everything is refused; take it back or write it anew"
_TOKEN: Final = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|\w+|&&|\|\||\S')
_CONDITIONS: Final = frozenset({"&&", "||", "if", "when", "unless"})


@dataclass(frozen=True, slots=True)
class _Size:
    """What can be counted of a text before Cedar looks at it."""

    tokens: int
    conditions: int
    nesting: int  # of brackets, or of names in a chain of dots


def _size(text: str) -> _Size:
    tokens = conditions = depth = chain = deepest = 0
    before = ""
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token.startswith("//"):
            continue
        tokens += 1
        conditions += token in _CONDITIONS
        depth += (token in "([{") - (token in ")]}")
        if token == ".":
            chain += 1
        elif before != ".":
            chain = 0
        deepest = max(deepest, depth, chain)
        before = token
    return _Size(tokens, conditions, deepest)


def _check_size(text: str) -> None:
    """Raises Invalid for what Cedar would take long over, or not survive."""
    if len(text) > TEXT_LIMIT:
        raise Invalid(f"A policy is at most {TEXT_LIMIT} characters.", remedy="Write several.")
    size = _size(text)
    if size.conditions > CONDITIONS_LIMIT:
        raise Invalid(
            f"A policy has at most {CONDITIONS_LIMIT} conditions; this one has {size.conditions}.",
            remedy="Write several.",
        )
    if size.nesting > NESTING_LIMIT:
        raise Invalid(f"A policy is nested at most {NESTING_LIMIT} deep.", remedy="Write several.")
    if size.tokens > TOKENS_LIMIT:
        raise Invalid(
            f"A policy is at most {TOKENS_LIMIT} words and signs; this one is {size.tokens}.",
            remedy="Write several.",
        )


def _depth(body: object) -> int:
    """How many levels a parsed policy has. Without recursion: it may be deeper than Python goes."""
    level: list[Any] = [body]
    depth = 0
    while level:
        depth += 1
        level = [
            part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if isinstance(part, dict | list)
        ]
    return depth


def _parsed(text: str) -> dict[str, dict[str, Any]]:
    """Policies by their `@id`. Raises Invalid for what is no Cedar, or lacks an id or a reason."""
    try:
        whole = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise Invalid(
            f"That is no Cedar policy: {str(error)[:300]}", remedy="See docs/operate/policies.md."
        ) from error
    except RecursionError as error:
        raise Invalid("A policy has too many parts.", remedy="Write several.") from error
    if whole["templates"]:
        raise Invalid("A policy with ?principal or ?resource is a template, not a policy.")
    named: dict[str, dict[str, Any]] = {}
    for policy in whole["staticPolicies"].values():
        notes = policy.get("annotations") or {}
        name = notes.get("id") or ""
        if not _ID.match(name) or not notes.get("reason"):
            raise Invalid(
                'A policy needs @id("a-z, 0-9, -") and @reason("what people are told").',
                remedy="Write both above it.",
            )
        if name in named:
            raise Invalid(f"Two policies are called {name!r}.", remedy="Rename one.")
        named[name] = policy
    return named


def _validated(text: str) -> None:
    done = cedarpy.validate_policies(text, _SCHEMA, release_gil=True)
    if not done.validation_passed:
        raise _misfit(text, ((error.policy_id, str(error.error)) for error in done.errors))


# What Cedar's validator says of a name that is none, for each action that it could apply to once more.
_UNKNOWN: Final = re.compile(
    r'unrecognized action `Action::"(?P<action>[^"`]+)"`'
    r"|unrecognized entity type `(?P<entity>[^`]+)`"
    r"|attribute `(?P<attribute>[^`]+)` (?:in context for \S+|on entity type `(?P<type>[^`]+)`) not found"
)
MISFIT_LIMIT: Final = 230
"""Characters of a misfit: pages leave longer texts out."""


def _misfit(text: str, errors: Iterable[tuple[str, str]]) -> Invalid:
    """What to say of policies that do not fit the schema: each thing once, under the policy's own name, and
    what may have been meant."""
    policies = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    names = {key: policy["annotations"]["id"] for key, policy in policies.items()}
    said, near = set(), set()
    for key, error in errors:
        name = names.get(key, "one")
        unknown = _UNKNOWN.search(error)
        if unknown is None:
            said.add((1, f"{name}: {error.removeprefix(f'for policy `{key}`, ')}"))
            continue
        kind = str(unknown.lastgroup if unknown["type"] is None else "attribute")
        there = _names_of(kind, unknown["type"])
        near.update(difflib.get_close_matches(unknown[kind], there, n=1))
        of_what = f" of {unknown['type'] or 'context'}" if kind == "attribute" else ""
        said.add((0, f"{name}: there is no {kind} {unknown[kind]!r}{of_what}"))
    # That no action applies only follows from a name that is none.
    first = min(rank for rank, _ in said)
    what = "; ".join(sorted(words for rank, words in said if rank == first))
    remedy = (
        f"Did you mean {' or '.join(sorted(near))}?" if near else "See docs/operate/policies.md."
    )
    return Invalid(f"The policy does not fit the schema. {what}"[:MISFIT_LIMIT], remedy=remedy)


def _names_of(kind: str, of: str | None) -> list[str]:
    """What the schema calls actions, entities, or the attributes of an entity (of None: of the context)."""
    schema = re.sub(r"//.*", "", SCHEMA_TEXT)
    if kind == "action":
        heads = re.findall(r"^action (.*?)(?: in \[|;)", schema, re.MULTILINE)
        return [name for head in heads for name in re.findall(r'"([^"]+)"', head)]
    if kind == "entity":
        return re.findall(r"^entity (\w+)", schema, re.MULTILINE)
    named = re.search(
        rf"^(?:entity|type) {of or 'Circumstances'}\b[^{{;]*{{([^}}]*)}}", schema, re.MULTILINE
    )
    return re.findall(r"(\w+):", named[1]) if named else []


_FOLDER = files("lightwell.access") / "policies"
SCHEMA_TEXT: Final = (_FOLDER / "schema.cedarschema").read_text("utf-8")
_SCHEMA: Final = cedarpy.Schema.from_str(SCHEMA_TEXT)


def _groups(schema: str) -> Mapping[str, frozenset[str]]:
    """Each action with the groups it is in, itself included, as the schema says."""
    found: dict[str, frozenset[str]] = {}
    for name, inside in re.findall(r'^action "([^"]+)" in \[([^\]]*)\]', schema, re.MULTILINE):
        found[name] = frozenset({name, *re.findall(r'"([^"]+)"', inside)})
    return found


ACTIONS: Final = _groups(SCHEMA_TEXT)
"""Every action that policies know, with its groups. (A test holds it equal to `actions.Action`.)"""

ABOUT_STUDIES: Final = frozenset(
    re.findall(r'^action "([^"]+)".*resource: \[Study\]', SCHEMA_TEXT, re.MULTILINE)
)
"""The actions of which policies are asked for each study; of all others, for the tenant."""


def _within(principal: Mapping[str, Any]) -> Entity | None:
    """The entity that a scope wants the principal to be, or to be in."""
    entity = principal.get("entity") or (principal.get("in") or {}).get("entity")
    return (entity["type"], entity["id"]) if entity else None


def _may_apply(policy: Mapping[str, Any], question: Question) -> bool:
    """Whether a policy's scope leaves it possible that it applies. Never false for one that does."""
    principal = policy["principal"]
    kind = principal.get("entity_type")
    if kind is not None and kind != question.principal[0]:
        return False
    within = _within(principal)
    if within is not None and within != question.principal and within not in question.parents:
        return False
    return _about(policy, question.action)


def _about(policy: Mapping[str, Any], asked: str) -> bool:
    """Whether a policy's scope leaves an action to it."""
    action = policy["action"]
    if action["op"] in ("==", "in"):
        named = action.get("entities") or [action["entity"]]
        groups = ACTIONS.get(asked, frozenset({asked}))
        return any(each["id"] in groups for each in named)
    return True


def _named_in(body: object) -> Iterable[Entity | str]:
    """Every entity and every word in a policy's scope and conditions: what it can look at is among them."""
    if isinstance(body, Mapping):
        kind, name = body.get("type"), body.get("id")
        if isinstance(kind, str) and isinstance(name, str):
            yield kind, name
        body = list(body.values())
    if isinstance(body, str):
        yield body
    elif isinstance(body, list):
        for value in body:
            yield from _named_in(value)


_CONTEXT: Final = {"Var": "context"}


def _times_in(body: object) -> Iterable[str]:
    """Every attribute of time that a part of a policy looks at; all, where it takes the circumstances as a
    whole."""
    if isinstance(body, Mapping):
        if body == _CONTEXT:
            yield from TIMES
            return
        looked = body.get(".") or body.get("has")
        if isinstance(looked, Mapping) and looked.get("left") == _CONTEXT:
            name = looked.get("attr")
            yield from TIMES & {name} if isinstance(name, str) else TIMES
            return
        body = list(body.values())
    if isinstance(body, list):
        for part in body:
            yield from _times_in(part)


@dataclass(frozen=True, slots=True)
class _Slice:
    """The policies that can apply to some questions, and what they look at of the time of day."""

    policies: cedarpy.PolicySet | None  # None: they cannot be read, and deny
    times: frozenset[str]


class PolicySet:
    """Policies that are in force together. Immutable; answers are remembered as long as it lives.

    `texts` has what each was written as. `unreadable`: the names and texts of such as are stored but are no
    policies; while there are any, everything is refused to whom the tenant's policies bind.
    """

    def __init__(
        self,
        named: Mapping[str, Mapping[str, Any]],
        shipped: Iterable[str],
        texts: Mapping[str, str],
        unreadable: Mapping[str, str] | None = None,
    ) -> None:
        self._named = dict(named)
        self._texts = dict(texts)
        self._shipped = frozenset(shipped)
        self._unreadable = dict(unreadable or {})
        self._mentioned = frozenset(each for p in named.values() for each in _named_in(p))
        self._slices: dict[object, _Slice] = {}
        self._own_sets: dict[tuple[str, ...], cedarpy.PolicySet] = {}
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._sums: OrderedDict[Hashable, Any] = OrderedDict()
        # Of their own: what is of a minute must not push out what is good for ever.
        self._timed_answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._timed_sums: OrderedDict[Hashable, Any] = OrderedDict()
        self._times = {name: frozenset(_times_in(policy)) for name, policy in named.items()}
        #: Whether any of them looks at the time of day: where none does, time costs nothing.
        self.timed = any(self._times.values())

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All of them, shipped ones first, by name."""
        told = [
            Policy(name, p["effect"], self.reason(name), name in self._shipped, self._texts[name])
            for name, p in self._named.items()
        ]
        told += [
            Policy(name, "forbid", _CANNOT_BE_READ, False, text)
            for name, text in self._unreadable.items()
        ]
        return tuple(sorted(told, key=lambda each: (not each.shipped, each.name)))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The names of what is stored and is no policy."""
        return tuple(sorted(self._unreadable))

    def reason(self, name: str) -> str:
        """What people are told when this policy decides."""
        return str(self._named[name]["annotations"]["reason"])

    def with_texts(self, texts: Iterable[str]) -> PolicySet:
        """This set and policies that a tenant is about to write, within all limits. Raises Invalid."""
        named, written = dict(self._named), dict(self._texts)
        for text in texts:
            for name, policy in checked_policies(text).items():
                if name in named:
                    raise Invalid(f"There is a policy {name!r} already.", remedy="Rename it.")
                named[name], written[name] = policy, text.strip()
        own = {**{name: written[name] for name in named.keys() - self._shipped}, **self._unreadable}
        if len(own) > POLICIES_LIMIT:
            raise Invalid(
                f"A tenant has at most {POLICIES_LIMIT} policies.", remedy="Take one back first."
            )
        if sum(map(len, own.values())) > TEXTS_LIMIT:
            raise Invalid(
                f"The policies of a tenant are at most {TEXTS_LIMIT} characters together.",
                remedy="Take one back first.",
            )
        return self._with(named, written, self._unreadable)

    def with_stored(self, stored: Iterable[tuple[str, str]]) -> PolicySet:
        """This set and what is stored of a tenant, by name: never raises, whatever an earlier version has
        written. What cannot be read denies; limits and the schema were looked at when it was written."""
        named, written, unreadable = dict(self._named), dict(self._texts), dict(self._unreadable)
        for name, text in stored:
            read = _read(text)
            if set(read) == {name} and name not in named:
                named[name], written[name] = read[name], text.strip()
            else:
                unreadable[name] = text
        return self._with(named, written, unreadable)

    def _with(
        self,
        named: Mapping[str, Mapping[str, Any]],
        texts: Mapping[str, str],
        unreadable: Mapping[str, str],
    ) -> PolicySet:
        """The same set, with its memory, where nothing is added."""
        if len(named) == len(self._named) and len(unreadable) == len(self._unreadable):
            return self
        return PolicySet(named, self._shipped, texts, unreadable)

    def concerned(self, name: str) -> tuple[str, ...]:
        """The actions that a policy's scope names, or leaves open."""
        policy = self._named[name]
        return tuple(action for action in ACTIONS if _about(policy, action))

    def anybody(self, question: Question) -> Question:
        """The question asked for anybody like its principal, when no policy names that one by id, and without
        texts that no policy reads (a login, an AE title): Cedar has no other way to look at them, so the
        answer is the same, and one memory serves everybody with the same roles."""
        anybody = (question.principal[0], ANYBODY)
        if question.principal in self._mentioned or anybody in self._mentioned:
            return question
        read = tuple(
            (name, value if isinstance(value, tuple) or name in self._mentioned else "")
            for name, value in question.attributes
        )
        return replace(question, principal=anybody, attributes=read)

    def answer(self, question: Question) -> Answer:
        """Decide; an equal question is not evaluated twice."""
        memory = self._timed_answers if question.moment else self._answers
        return self._remembered(memory, question, (), self.evaluate)

    def summed_up(self, question: Question, asked: Hashable, make: Callable[[Question], T]) -> T:
        """What many answers come to, worked out once for an equal question."""
        memory = self._timed_sums if question.moment else self._sums
        return self._remembered(memory, question, asked, make)

    def times(self, question: Question) -> frozenset[str]:
        """What its answer depends on of the time of day; nothing: it is good at any time."""
        return self._slice(question).times if self.timed else frozenset()

    def _remembered(
        self,
        memory: OrderedDict[Hashable, Any],
        question: Question,
        asked: Hashable,
        make: Callable[[Question], T],
    ) -> T:
        known: T | None = memory.get((question, asked))
        if known is not None:
            return known
        anybody = self.anybody(question)
        known = memory.get((anybody, asked))
        if known is None:
            known = memory[anybody, asked] = make(anybody)
        memory[question, asked] = known
        while len(memory) > REMEMBERED:
            memory.popitem(last=False)
        return known

    def evaluate(self, question: Question) -> Answer:
        """Decide, always anew. Whatever goes wrong denies."""
        chosen = self._slice(question).policies
        if chosen is None:
            return Answer(False, failed=True)
        try:
            result = cedarpy.is_authorized(
                {
                    "principal": _uid(question.principal),
                    "action": _uid(("Action", question.action)),
                    "resource": _uid(question.resource),
                    "context": dict((*question.context, *question.moment)),
                },
                chosen,
                _entities(question),
            )
        except ValueError as error:
            log.error("%s was not decided, so denied: %s", question.action, str(error)[:300])
            return Answer(False, failed=True)
        if result.diagnostics.errors:
            return Answer(False, failed=True)
        # Cedar numbers what it parses; what we call a policy is its `@id`.
        names = result.diagnostics.id_annotations_by_reason.values()
        return Answer(bool(result.allowed), tuple(sorted(names)))

    def _slice(self, question: Question) -> _Slice:
        """The policies that can apply to this action and these parents: a few of hundreds."""
        key = (question.action, self.anybody(question).principal, question.parents)
        found = self._slices.get(key)
        if found is None:
            bound = question.principal[0] in BOUND
            chosen = [
                name
                for name, policy in self._named.items()
                if (bound or name in self._shipped) and _may_apply(policy, question)
            ]
            times = frozenset[str]().union(*(self._times[name] for name in chosen))
            policies = None if bound and self._unreadable else self._set_of(chosen)
            found = _Slice(policies, times)
            if len(self._slices) >= REMEMBERED:
                self._slices.clear()
            self._slices[key] = found
        return found

    def _set_of(self, names: Collection[str]) -> cedarpy.PolicySet | None:
        """From texts: as JSON it takes the square of the conditions, and refuses sixty. None: no policies.

        What is the tenant's own is parsed once for all actions that it leaves open.
        """
        own = tuple(name for name in names if name not in self._shipped)
        ships = (name for name in names if name in self._shipped)
        try:
            base = self._own_sets.get(own)
            if base is None:
                base = cedarpy.PolicySet.from_str(self._joined(own))
                if len(self._own_sets) >= OWN_SETS:
                    self._own_sets.clear()
                self._own_sets[own] = base
            return base.with_added_str(self._joined(ships))
        except ValueError as error:
            log.error("policies cannot be read together, so they deny: %s", str(error)[:300])
            return None

    def _joined(self, names: Iterable[str]) -> str:
        """A text of several policies comes once; its others cannot apply, or are chosen themselves."""
        return "\n".join(dict.fromkeys(self._texts[name] for name in names))


def _uid(entity: Entity) -> dict[str, str]:
    return {"type": entity[0], "id": entity[1]}


def _entities(question: Question) -> cedarpy.Entities:
    """What a question speaks of; the same for every circumstance it is asked in."""
    return _entities_of(
        question.principal,
        question.parents,
        question.attributes,
        question.action,
        question.resource,
        question.resource_attributes,
        question.resource_parents,
    )


@lru_cache(maxsize=REMEMBERED)
def _entities_of(
    principal: Entity,
    parents: frozenset[Entity],
    attributes: tuple[tuple[str, str | Entity], ...],
    action: str,
    resource: Entity,
    resource_attributes: tuple[tuple[str, bool], ...],
    resource_parents: frozenset[Entity],
) -> cedarpy.Entities:
    """The principal with its parents, the resource, and the action with its groups."""
    values = {
        name: {"__entity": _uid(value)} if isinstance(value, tuple) else value
        for name, value in attributes
    }
    groups = sorted(ACTIONS.get(action, frozenset()) - {action})
    body = [
        _entity(principal, values, sorted(parents)),
        _entity(resource, dict(resource_attributes), sorted(resource_parents)),
        _entity(("Action", action), {}, [("Action", group) for group in groups]),
    ]
    return cedarpy.Entities.from_json_str(json.dumps(body))


def _entity(
    itself: Entity, attributes: Mapping[str, Any], parents: Iterable[Entity]
) -> dict[str, Any]:
    return {
        "uid": _uid(itself),
        "attrs": dict(attributes),
        "parents": [_uid(parent) for parent in parents],
    }


def _read(text: str) -> dict[str, dict[str, Any]]:
    """Policies by their `@id`, such as this module can walk through; none, where it cannot."""
    try:
        if _size(text).nesting > STORED_NESTING_LIMIT:
            return {}
        named = _parsed(text)
        for policy in named.values():
            for _ in (*_named_in(policy), *_times_in(policy)):
                pass
    except (Invalid, RecursionError):
        return {}
    return named


def checked_policies(text: str) -> dict[str, dict[str, Any]]:
    """Policies by their `@id`, within the limits and fit for this schema. Raises Invalid.

    Up to a tenth of a second: not for an event loop.
    """
    _check_size(text)
    named = _parsed(text)
    if any(_depth(policy) > DEPTH_LIMIT for policy in named.values()):
        raise Invalid(f"A policy has at most {DEPTH_LIMIT} levels.", remedy="Write several.")
    _validated(text)
    return named


def shipped() -> PolicySet:
    """The policies of this package."""
    text = (_FOLDER / "shipped.cedar").read_text("utf-8")
    named = _parsed(text)
    _validated(text)
    return PolicySet(named, named, _texts(text))


def _texts(text: str) -> dict[str, str]:
    """Each policy of our own file as it stands there: from its `@id` at the start of a line to its end,
    without the comments between two."""
    found = {}
    for part in re.split(r'^(?=@id\(")', text, flags=re.MULTILINE)[1:]:
        body, _, _ = part.rpartition(";\n")
        found[part[len('@id("') :].partition('"')[0]] = f"{body};"
    return found


SHIPPED: Final = shipped()
