"""Who may do what: the shipped policies as a table, and what a tenant's own may and may not change."""

from __future__ import annotations

import itertools
import uuid

import cedarpy
import pytest

from lightwell.access import cedar
from lightwell.access.actions import Action
from lightwell.access.cedar import ACTIONS, SHIPPED, PolicySet, checked_policies
from lightwell.access.context import Actor, ActorKind, Context, Tenant
from lightwell.access.policy import (
    Denial,
    Rules,
    decide,
    look,
    network,
    proof_would_do,
    question_of,
)
from lightwell.access.roles import Role
from lightwell.access.sight import Fact, Standing
from lightwell.kernel.errors import Invalid

DEFAULT = Tenant(1, "default", "Default", "LIGHTWELL")
CLINIC = Tenant(2, "clinic", "Clinic", "CLINIC")
SHOW = Tenant(3, "demo", "Demonstration", "DEMO", demo=True)


def person(*roles: str, home: str = "clinic") -> Actor:
    return Actor(ActorKind.PERSON, "ada", home=home, roles=frozenset(roles))


def context(
    actor: Actor, tenant: Tenant = CLINIC, origin: str = "10.0.0.7", *, stepped_up: bool = True
) -> Context:
    return Context(
        tenant, actor, channel="console", origin=origin, trace="t", stepped_up=stepped_up
    )


def allowed(actor: Actor, tenant: Tenant = CLINIC, rules: Rules | None = None) -> set[str]:
    """Groups of which every action is allowed, and single actions of the other groups."""
    may = {a for a in Action if decide(context(actor, tenant), a, rules or Rules()).allowed}
    whole = {g for g in ALL if all(a in may for a, groups in ACTIONS.items() if g in groups)}
    return whole | {str(a) for a in may if not ACTIONS[a] & whole}


ALL = {group for action, groups in ACTIONS.items() for group in groups - {action}}
IMAGES = {"see", "search"}
# What each role may in its own tenant, as groups of actions (schema.cedarschema).
TABLE = {
    Role.ADMIN: ALL - {"installation", "upkeep", "glass", "step-up"},
    Role.PACS_ADMIN: {*IMAGES, "self", "ingest", "correct", "aside", "totals", "move-packs", "jobs-see",
                      "jobs-steer", "peers-run", "policy-see", "echo"},
    Role.RADIOLOGIST: {*IMAGES, "self", "totals", "jobs-see", "archive:study:recall", "glass"},
    Role.TECHNOLOGIST: {*IMAGES, "self", "ingest", "correct", "aside", "totals", "jobs-see", "jobs-steer",
                        "glass"},
    Role.REFERRER: {"self", "glass"},  # and what they have to do with: test_sight.py
    Role.PATIENT: {"self"},
    Role.RESEARCHER: {"self"},
    Role.AUDITOR: {"self", "search", "aside", "totals", "jobs-see", "policy-see", "people:person:list",
                   "people:session:list", "people:key:list", "people:provider:list", "peers:door:read",
                   "peers:peer:list", "glass-review"},
    Role.INTEGRATION: {*IMAGES, "self", "ingest", "totals"},
    Role.SUPPORT: {"self"},
}  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_what_a_role_may_at_home(role: Role) -> None:
    assert allowed(person(role)) == TABLE[role]


@pytest.mark.parametrize("role", Role)
def test_no_role_reaches_another_tenant(role: Role) -> None:
    assert allowed(person(role, home="elsewhere")) == set()


def test_who_sees_images() -> None:
    may = {
        role
        for role in Role
        if decide(context(person(role)), Action.ARCHIVE_INSTANCE_RETRIEVE).allowed
    }
    assert may == {
        Role.ADMIN,
        Role.PACS_ADMIN,
        Role.RADIOLOGIST,
        Role.TECHNOLOGIST,
        Role.INTEGRATION,
    }


def test_auditors_read_lists_and_change_nothing() -> None:
    auditor = context(person(Role.AUDITOR))
    for action in Action:
        verb = action.rpartition(":")[2]
        own = "self" in ACTIONS[action] or action is Action.PEOPLE_GLASS_REVIEW
        if decide(auditor, action).allowed and not own:
            assert verb in ("list", "read", "query", "explain", "open"), action


def test_the_administrator_of_the_installation_reaches_every_tenant_but_not_its_patients() -> None:
    chief = person(Role.ADMIN, home="default")
    assert decide(context(chief, DEFAULT), Action.TENANTS_TENANT_CREATE).allowed
    assert decide(context(chief, DEFAULT), Action.ARCHIVE_STUDY_QUERY).allowed
    elsewhere = context(chief, CLINIC)
    assert decide(elsewhere, Action.PEERS_PEER_ADD).allowed
    assert decide(elsewhere, Action.TENANTS_TENANT_CONFIGURE).allowed
    for action in (
        Action.ARCHIVE_STUDY_QUERY,
        Action.ARCHIVE_INSTANCE_RETRIEVE,
        Action.ARCHIVE_STUDY_CORRECT,
    ):
        assert not decide(elsewhere, action).allowed


def test_researchers_see_demonstration_tenants_only() -> None:
    assert allowed(person(Role.RESEARCHER, home="demo"), SHOW) >= IMAGES
    assert not allowed(person(Role.RESEARCHER)) & IMAGES


def test_r09_support_needs_consent() -> None:
    helper = person(Role.SUPPORT)
    assert "jobs-see" not in allowed(helper)
    consented = Rules(consent=True)
    assert {"jobs-see", "search"} <= allowed(helper, rules=consented)
    assert not decide(context(helper), Action.ARCHIVE_INSTANCE_RETRIEVE, consented).allowed
    # Another role beside it does not step around the consent.
    both = person(Role.SUPPORT, Role.RADIOLOGIST)
    decision = decide(context(both), Action.ARCHIVE_STUDY_QUERY)
    assert (decision.allowed, decision.reason) == (False, "the tenant has not let support in")


def test_a_key_does_what_its_scopes_and_its_roles_both_allow() -> None:
    key = Actor(
        ActorKind.PROGRAM, "router", home="clinic", roles=frozenset({Role.INTEGRATION}),
        scopes=frozenset({"archive:instance:*", "people:*"}),
    )  # fmt: skip
    assert decide(context(key), Action.ARCHIVE_INSTANCE_STORE).allowed
    refused = decide(context(key), Action.ARCHIVE_STUDY_QUERY)
    assert (refused.allowed, refused.policies) == (False, ("scope",))


def test_roles_of_whoever_has_no_home_count_for_nothing() -> None:
    web = Actor(ActorKind.WEB, "local", roles=frozenset({Role.ADMIN}))
    assert not decide(context(web), Action.ARCHIVE_STUDY_CORRECT).allowed
    peer = Actor(ActorKind.PEER, "CT1", roles=frozenset({Role.ADMIN}))
    assert not decide(context(peer), Action.ARCHIVE_STUDY_QUERY).allowed


def test_a_suspended_tenant_is_shut_for_its_administrator_too() -> None:
    shut = Tenant(2, "clinic", "Clinic", "CLINIC", suspended=True)
    decision = decide(context(person(Role.ADMIN), shut), Action.ARCHIVE_STUDY_QUERY)
    assert (decision.allowed, decision.reason) == (False, "the tenant is suspended")


# --- emergencies, and proving again ----------------------------------------------------------------


def test_r05_who_breaks_the_glass() -> None:
    act = Action.PEOPLE_GLASS_BREAK
    assert {role for role in Role if decide(context(person(role)), act).allowed} == {
        Role.RADIOLOGIST,
        Role.TECHNOLOGIST,
        Role.REFERRER,
    }
    both = person(Role.ADMIN, Role.RADIOLOGIST)
    assert decide(context(both), act).allowed
    chief = person(Role.ADMIN, Role.RADIOLOGIST, home="default")
    assert not decide(context(chief, CLINIC), act).allowed, "nobody opens another tenant's patients"
    everybody = frozenset(Role)
    for other in (
        Actor(ActorKind.PROGRAM, "key", home="clinic", roles=everybody),
        Actor(ActorKind.OPERATOR, "root"),
        Actor(ActorKind.SYSTEM, "work"),
        Actor(ActorKind.WEB, "local"),
        Actor(ActorKind.PEER, "CT1", grants=frozenset({"find", "move", "get"})),
    ):
        assert not decide(context(other), act).allowed, other.kind


def test_r05_no_policy_of_a_tenant_lets_a_program_break_the_glass() -> None:
    everything = '@id("all") @reason("all") permit (principal, action, resource);'
    rules = Rules(policies=SHIPPED.with_texts([everything]))
    key = Actor(ActorKind.PROGRAM, "key", home="clinic", roles=frozenset({Role.ADMIN}))
    assert not decide(context(key), Action.PEOPLE_GLASS_BREAK, rules).allowed


def test_the_most_powerful_acts_want_a_proof_of_a_person_and_of_nobody_else() -> None:
    powerful = {action for action, groups in ACTIONS.items() if "step-up" in groups}
    assert powerful == {
        Action.PEOPLE_GLASS_BREAK,
        Action.PEOPLE_KEY_CREATE,
        Action.PEOPLE_LINK_CREATE,
        Action.PEOPLE_PERSON_ADD,
        Action.PEOPLE_PERSON_CHANGE,
        Action.PEOPLE_PROVIDER_ADD,
        Action.PEOPLE_PROVIDER_CHANGE,
        Action.PEOPLE_RELATION_CHANGE,
        Action.PEOPLE_SEAL_CHANGE,
        Action.POLICY_RULE_CHANGE,
        Action.TENANTS_TENANT_ERASE,
        Action.TENANTS_TENANT_EXPORT,
        Action.TENANTS_TENANT_SUSPEND,
    }
    installations = (
        Action.TENANTS_TENANT_ERASE,
        Action.TENANTS_TENANT_EXPORT,
        Action.TENANTS_TENANT_SUSPEND,
    )
    admin = person(Role.ADMIN, Role.RADIOLOGIST)
    idle = context(admin, stepped_up=False)
    for action in Action:
        if action in installations:  # below
            continue
        refused = not decide(idle, action).allowed and decide(context(admin), action).allowed
        assert refused == (action in powerful), action
        assert proof_would_do(idle, action) == (action in powerful), action
    chief = person(Role.ADMIN, home="default")
    for stepped_up in (True, False):
        asked = context(chief, DEFAULT, stepped_up=stepped_up)
        for action in installations:
            assert decide(asked, action).allowed is stepped_up, action
    decision = decide(idle, Action.PEOPLE_KEY_CREATE)
    assert (decision.reason, decision.policies) == ("prove again who you are", ("step-up",))
    for other in (
        Actor(ActorKind.PROGRAM, "key", home="clinic", roles=frozenset({Role.ADMIN})),
        Actor(ActorKind.OPERATOR, "root"),
    ):
        asked = context(other, stepped_up=False)
        assert decide(asked, Action.PEOPLE_KEY_CREATE).allowed
        assert not proof_would_do(asked, Action.PEOPLE_GLASS_BREAK)


def test_a_proof_does_not_help_where_something_else_stands_against_it() -> None:
    reader = context(person(Role.RADIOLOGIST), stepped_up=False)
    assert not proof_would_do(reader, Action.PEOPLE_KEY_CREATE)


def test_a_tenants_own_policy_may_want_a_proof_too() -> None:
    own = """
    @id("proof") @reason("prove it before you correct")
    forbid (principal is Person, action in Action::"correct", resource) unless { context.steppedUp };
    """
    rules = Rules(policies=SHIPPED.with_texts([own]))
    idle = context(person(Role.TECHNOLOGIST), stepped_up=False)
    assert not decide(idle, Action.ARCHIVE_STUDY_CORRECT, rules).allowed
    assert proof_would_do(idle, Action.ARCHIVE_STUDY_CORRECT, rules)


def test_a_proof_is_wanted_where_it_opens_any_study_at_all() -> None:
    own = """
    @id("proof") @reason("prove it before you search")
    forbid (principal is Person, action in Action::"search", resource) unless { context.steppedUp };
    """
    rules = Rules(policies=SHIPPED.with_texts([own]))
    idle, query = context(person(Role.REFERRER), stepped_up=False), Action.ARCHIVE_STUDY_QUERY
    treats = Standing(uuid.UUID(int=1), frozenset({Fact.TREATED, Fact.PRIOR}))
    assert not look(idle, query, rules, treats)[0].allowed
    assert proof_would_do(idle, query, rules, treats)
    assert not proof_would_do(idle, Action.ARCHIVE_STUDY_CORRECT, rules, treats)
    assert not proof_would_do(idle, Action.ARCHIVE_INSTANCE_RETRIEVE, rules, treats)


# --- a tenant's own policies -----------------------------------------------------------------------

NIGHT = """
@id("night") @reason("no corrections from outside")
forbid (principal, action in Action::"correct", resource) when { context.network == "public" };
"""


def test_a_tenants_own_denial_wins_and_says_why() -> None:
    rules = Rules(policies=SHIPPED.with_texts([NIGHT]))
    admin = person(Role.ADMIN)
    inside, outside = context(admin), context(admin, origin="9.9.9.9")
    assert decide(inside, Action.ARCHIVE_STUDY_CORRECT, rules).allowed
    decision = decide(outside, Action.ARCHIVE_STUDY_CORRECT, rules)
    assert (decision.allowed, decision.reason) == (False, "no corrections from outside")
    assert decision.policies == ("night",)


def test_a_tenants_own_permission_does_not_reach_the_installation_or_other_tenants() -> None:
    everything = '@id("all") @reason("all") permit (principal, action, resource);'
    rules = Rules(policies=SHIPPED.with_texts([everything]))
    assert decide(context(person(Role.PATIENT)), Action.ARCHIVE_STUDY_QUERY, rules).allowed
    assert not decide(context(person(Role.ADMIN)), Action.TENANTS_TENANT_CREATE, rules).allowed
    stranger = person(Role.ADMIN, home="elsewhere")
    assert not decide(context(stranger), Action.ARCHIVE_STUDY_QUERY, rules).allowed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("permit (principal", "no Cedar"),
        ("permit (principal, action, resource);", "@id"),
        ('@id("x") permit (principal, action, resource);', "@reason"),
        ('@id("X y") @reason("r") permit (principal, action, resource);', "@id"),
        ('@id("x") @reason("r") permit (principal == ?principal, action, resource);', "template"),
        (
            '@id("x") @reason("r") permit (principal, action == Action::"archive:all:delete", resource);',
            "schema",
        ),
        (
            '@id("x") @reason("r") forbid (principal, action, resource) when { resource.vip };',
            "schema",
        ),
        (NIGHT + NIGHT, "Two policies"),
        ("/" * (cedar.TEXT_LIMIT + 1), "at most"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_when_it_is_written(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        checked_policies(text)


def test_a_tenant_cannot_replace_what_ships() -> None:
    text = '@id("suspended") @reason("r") permit (principal, action, resource);'
    with pytest.raises(Invalid, match="already"):
        SHIPPED.with_texts([text])


def test_an_error_of_evaluation_denies() -> None:
    """Cedar skips what fails; a denial that is skipped would be an open door."""
    texts = {
        "b": '@id("b") @reason("r") forbid (principal, action, resource) when { principal.nothing };',
        "p": '@id("p") @reason("r") permit (principal, action, resource);',
    }
    named = cedar._parsed(texts["b"]) | cedar._parsed(texts["p"])
    question = question_of(context(person(Role.ADMIN)), Action.ARCHIVE_STUDY_QUERY)
    answer = PolicySet(named, (), texts).evaluate(question)
    assert (answer.allowed, answer.failed) == (False, True)


# --- whom a tenant's policies bind, and what they cost -----------------------------------------------

EVERYTHING = '@id("shut") @reason("shut") forbid (principal, action, resource);'
PRIVATE_ONLY = EVERYTHING.replace(";", ' unless { context.network == "private" };')
MANY = '@id("many") @reason("r") forbid (principal, action, resource) when {{ {} }};'


def many(conditions: int, sign: str = "||") -> str:
    return MANY.format(f" {sign} ".join(['context.network == "public"'] * conditions))


KINDS = {
    ActorKind.PERSON: person(Role.ADMIN),
    ActorKind.PROGRAM: Actor(
        ActorKind.PROGRAM, "key", home="clinic", roles=frozenset({Role.ADMIN})
    ),
    ActorKind.PEER: Actor(ActorKind.PEER, "CT1", grants=frozenset({"find"})),
    ActorKind.WEB: Actor(ActorKind.WEB, "local"),
    ActorKind.OPERATOR: Actor(ActorKind.OPERATOR, "root"),
    ActorKind.SYSTEM: Actor(ActorKind.SYSTEM, "work"),
}
UNBOUND = (ActorKind.OPERATOR, ActorKind.SYSTEM, ActorKind.WEB)


@pytest.mark.parametrize("text", [EVERYTHING, PRIVATE_ONLY])
@pytest.mark.parametrize("kind", ActorKind)
def test_no_policy_of_a_tenant_stops_our_own_work_or_the_operator(
    text: str, kind: ActorKind
) -> None:
    rules = Rules(policies=SHIPPED.with_texts([text]))
    asked = context(KINDS[kind], origin="" if kind in UNBOUND else "9.9.9.9")
    for action in Action:
        ships = decide(asked, action)
        if kind in UNBOUND:
            assert decide(asked, action, rules) == ships, action
        else:
            assert not decide(asked, action, rules).allowed, action
    assert decide(asked, Action.POLICY_RULE_CHANGE, rules).allowed == (
        kind in (ActorKind.OPERATOR, ActorKind.SYSTEM)
    )


def test_no_policy_of_a_tenant_lets_in_whoever_is_not_recognised() -> None:
    rules = Rules(
        policies=SHIPPED.with_texts(
            ['@id("all") @reason("all") permit (principal, action, resource);']
        )
    )
    asked = context(KINDS[ActorKind.WEB])
    assert not any(decide(asked, action, rules).allowed for action in Action)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (" || ".join(["context.inScope"] * 60), "at most 50 conditions; this one has 60"),
        (" && ".join(["context.inScope"] * 51), "at most 50 conditions"),
        ("if context.inScope then true else " * 50 + "true", "at most 50 conditions"),
        ("(" * 800 + "true" + ")" * 800, "nested at most 20"),
        ("[" * 1500 + "1" + "]" * 1500 + " == 1", "nested at most 20"),
        ("context has " + ".".join(["a"] * 5000), "nested at most 20"),
        ("+".join(["1"] * 6000) + " == 1", "at most 1000 words and signs"),
        ("+".join(["1"] * 400) + " == 1", "too many parts|at most 120 levels"),
        ("context" + '["a"]' * 200, "too many parts|at most 120 levels"),
    ],
)
def test_a_policy_that_would_take_long_or_end_the_process_is_refused_before(
    condition: str, says: str
) -> None:
    text = MANY.format(condition)
    with pytest.raises(Invalid, match=says):
        checked_policies(text)
    with pytest.raises(Invalid, match=says):
        SHIPPED.with_texts([text])


@pytest.mark.parametrize("sign", ["||", "&&"])
def test_fifty_conditions_are_read_and_decide(sign: str) -> None:
    rules = Rules(policies=SHIPPED.with_texts([many(50, sign)]))
    admin, query = person(Role.ADMIN), Action.ARCHIVE_STUDY_QUERY
    assert decide(context(admin), query, rules).allowed
    assert decide(context(admin, origin="9.9.9.9"), query, rules).policies == ("many",)


def test_signs_in_words_and_comments_are_no_conditions() -> None:
    text = MANY.format('context.channel == "' + "|| ((([" * 50 + '"') + "// " + "&& ((" * 60
    assert set(checked_policies(text)) == {"many"}


def test_the_number_and_length_of_a_tenants_policies_are_limited_when_one_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = SHIPPED.with_stored([("many", many(3)), ("lost", "permit")])
    monkeypatch.setattr(cedar, "POLICIES_LIMIT", 2)
    with pytest.raises(Invalid, match="at most 2 policies"):
        before.with_texts([NIGHT])
    monkeypatch.setattr(cedar, "POLICIES_LIMIT", 3)
    assert "night" in {each.name for each in before.with_texts([NIGHT]).policies}
    monkeypatch.setattr(cedar, "TEXTS_LIMIT", len(many(3)))
    with pytest.raises(Invalid, match="characters together"):
        before.with_texts([NIGHT])
    assert not SHIPPED.with_stored([("many", many(3)), ("night", NIGHT)]).unreadable


def test_what_an_earlier_version_has_taken_is_followed_however_long_it_is() -> None:
    rules = Rules(policies=SHIPPED.with_stored([("many", many(60))]))
    admin, query = person(Role.ADMIN), Action.ARCHIVE_STUDY_QUERY
    assert decide(context(admin), query, rules).allowed
    assert decide(context(admin, origin="9.9.9.9"), query, rules).policies == ("many",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "many",
            MANY.format("+".join(["1"] * 5000) + " == 1"),
        ),  # deeper than can be walked through
        ("many", MANY.format("(" * 900 + "true" + ")" * 900)),
        ("lost", "permit (principal"),
        ("lost", NIGHT),  # of another name
        ("night", NIGHT + NIGHT.replace("night", "day")),
        ("suspended", NIGHT.replace("night", "suspended")),  # it ships by now
    ],
)
def test_what_is_stored_and_cannot_be_read_denies_and_is_shown(name: str, text: str) -> None:
    rules = Rules(policies=SHIPPED.with_stored([(name, text)]))
    assert rules.policies.unreadable == (name,)
    assert [(e.name, e.text) for e in rules.policies.policies if not e.shipped] == [(name, text)]
    for kind, actor in KINDS.items():
        decision = decide(context(actor), Action.POLICY_RULE_CHANGE, rules)
        assert decision.allowed == (kind in (ActorKind.OPERATOR, ActorKind.SYSTEM)), kind
        if kind not in UNBOUND:
            assert decision.reason == "a policy could not be evaluated"


def test_a_set_that_cedar_does_not_take_denies_and_never_raises(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = SHIPPED.with_texts([NIGHT])
    question = question_of(context(person(Role.ADMIN)), Action.ARCHIVE_STUDY_QUERY)

    def refused(*_anything: object) -> None:
        raise ValueError("too deep")

    monkeypatch.setattr(cedarpy, "is_authorized", refused)
    assert whole.evaluate(question) == cedar.Answer(False, failed=True)
    monkeypatch.setattr(cedarpy, "PolicySet", type("Never", (), {"from_str": refused}))
    assert SHIPPED.with_texts([NIGHT]).evaluate(question) == cedar.Answer(False, failed=True)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


# --- the slices ------------------------------------------------------------------------------------

SCOPES = [
    'principal == Person::"clinic/ada"',
    'principal == Person::"clinic/bob"',
    'principal in Role::"radiologist"',
    'principal is Person in Role::"auditor"',
    "principal is Peer",
    "principal",
]
TARGETS = [
    'action == Action::"archive:study:query"',
    'action in [Action::"see", Action::"correct"]',
    'action in Action::"search"',
    "action",
]


def test_slicing_changes_no_decision() -> None:
    """Every scope there is, alone: what the slice answers is what the whole set answers, as JSON."""
    texts = [
        f'@id("p{n}") @reason("r") {effect} ({who}, {what}, resource);'
        for n, (effect, who, what) in enumerate(
            itertools.product(("permit", "forbid"), SCOPES, TARGETS)
        )
    ]
    actors = [
        person(),
        person("radiologist"),
        person("auditor", "radiologist"),
        Actor(ActorKind.PEER, "CT1", grants=frozenset({"store"})),
        Actor(ActorKind.SYSTEM, "work"),
    ]
    for chosen in (texts, texts[:24], texts[20:28], *([t] for t in texts)):
        whole = SHIPPED.with_texts(chosen)
        for actor, action in itertools.product(
            actors, (Action.ARCHIVE_STUDY_QUERY, Action.PEERS_PEER_ADD)
        ):
            question = question_of(context(actor), action)
            binding = whole if question.principal[0] in cedar.BOUND else SHIPPED
            body = {"templates": {}, "staticPolicies": binding._named, "templateLinks": []}
            result = cedarpy.is_authorized(
                {
                    "principal": cedar._uid(question.principal),
                    "action": cedar._uid(("Action", question.action)),
                    "resource": cedar._uid(question.resource),
                    "context": dict(question.context),
                },
                cedarpy.PolicySet.from_json_str(cedar.json.dumps(body)),
                cedar._entities(question),
            )
            for answer in (whole.evaluate(question), whole.answer(question)):
                assert answer.allowed == result.allowed, (actor, action)
                assert answer.policies == tuple(sorted(result.diagnostics.reasons))


def test_who_is_named_in_no_policy_is_anybody_of_their_kind() -> None:
    """One memory for all with the same roles; where a policy looks at a login, each has their own."""
    forbid = '@id("own") @reason("r") forbid (principal, action, resource) when { %s };'
    ada, bob = (
        question_of(
            context(Actor(ActorKind.PERSON, name, home="clinic", roles=frozenset({"radiologist"}))),
            Action.ARCHIVE_STUDY_QUERY,
        )
        for name in ("ada", "bob")
    )
    assert SHIPPED.anybody(ada) == SHIPPED.anybody(bob) != bob
    for condition in (
        'principal == Person::"clinic/ada"',
        'principal is Person && principal.login == "ada"',
        'principal is Person && principal.login like "a*"',
    ):
        rules = SHIPPED.with_texts([forbid % condition])
        assert rules.anybody(ada) != rules.anybody(bob), condition
        assert rules.answer(bob).allowed
        assert not rules.answer(ada).allowed, condition
    rules = SHIPPED.with_texts([forbid % f'principal == Person::"{cedar.ANYBODY}"'])
    assert rules.anybody(bob) == bob
    assert rules.answer(bob).allowed


def test_the_schema_knows_every_action_and_puts_it_in_a_group() -> None:
    assert set(ACTIONS) == set(Action)
    assert all(len(groups) > 1 for groups in ACTIONS.values())


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ("127.0.0.1", "loopback"),
        ("::ffff:10.1.1.1", "private"),
        ("8.8.8.8", "public"),
        ("", "unknown"),
    ],
)
def test_where_an_address_is(origin: str, place: str) -> None:
    assert network(origin) == place


def test_a_short_denial_comes_before_every_policy() -> None:
    rules = Rules((Denial("person:ada", "archive:*", "on leave"),))
    decision = decide(context(person(Role.ADMIN)), Action.ARCHIVE_STUDY_QUERY, rules)
    assert (decision.reason, decision.policies) == ("on leave", ("policy_rule",))


@pytest.mark.parametrize(
    ("body", "says", "remedy"),
    [
        (
            'forbid (principal, action == Action::"archive:study:qery", resource);',
            "night: there is no action 'archive:study:qery'",
            "Did you mean archive:study:query?",
        ),
        (
            'forbid (principal, action in Action::"serch", resource);',
            "night: there is no action 'serch'",
            "Did you mean search?",
        ),
        (
            'forbid (principal, action, resource) when { context.netwrk == "public" };',
            "night: there is no attribute 'netwrk' of context",
            "Did you mean network?",
        ),
        (
            'forbid (principal, action in Action::"search", resource is Study) when { resource.sensitve };',
            "night: there is no attribute 'sensitve' of Study",
            "Did you mean sensitive?",
        ),
        (
            "forbid (principal is Persn, action, resource);",
            "night: there is no entity 'Persn'",
            "Did you mean Person?",
        ),
        (
            "forbid (principal, action, resource) when { context.zzz };",
            "night: there is no attribute 'zzz' of context",
            "See docs/operate/policies.md.",
        ),
        (
            'forbid (principal, action, resource) when { context.hour == "late" };',
            "night: ",
            "See docs/operate/policies.md.",
        ),
    ],
)
def test_a_policy_that_does_not_fit_is_told_what_was_meant(
    body: str, says: str, remedy: str
) -> None:
    """Under its own name, each thing once, and short enough for a page to show."""
    fine = '@id("day") @reason("r") forbid (principal, action, resource) when { context.hour < 5 };'
    with pytest.raises(Invalid) as refused:
        checked_policies(f'{fine}\n@id("night") @reason("r") {body}')
    message = refused.value.message
    assert says in message
    assert message.count("night: ") == 1
    assert "policy1" not in message
    assert len(message) <= 240
    assert refused.value.remedy == remedy
