"""Speaking to an OpenID provider over real sockets: what it may answer, and what we make of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from lightwell.backends.identity.openid import OpenIdConnect, authenticated, discovery_url
from lightwell.backends.identity.outbound import LIMIT, Outgoing
from lightwell.domain.people.errors import ProviderAway, Step, Unproved
from lightwell.domain.people.ports import Farewell, Inbound, Outbound
from lightwell.domain.people.providers import IdentityProvider, Proven
from lightwell.kernel.clock import SystemClock
from lightwell.testing.openid import CLIENT_ID, SECRET, ScriptedProvider, as_json, new_key
from lightwell.testing.served import free_port

NONCE = "n" * 43
INBOUND = Inbound("https://pacs.example/callback", "code-1", "v" * 64, NONCE)


class Hands(SystemClock):
    """The real clock, which a test sets forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


def trusted(issuer: str, **changes: Any) -> IdentityProvider:
    right: dict[str, Any] = {
        "name": "hospital", "label": "Hospital", "issuer": issuer, "client_id": CLIENT_ID,
        "roles": {"readers": frozenset({"radiologist"})}, "made_by": "test", "created": datetime.now(UTC),
    }  # fmt: skip
    return IdentityProvider(**{**right, **changes})


@pytest.fixture
def there() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(nonce=NONCE) as provider:
        yield provider


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def ours(clock: Hands) -> Iterator[OpenIdConnect]:
    client = OpenIdConnect(clock, Outgoing(deadline=3))
    yield client
    client.close()


async def proven(
    ours: OpenIdConnect, there: ScriptedProvider, inbound: Inbound = INBOUND, **changes: Any
) -> Proven:
    return await ours.proven(trusted(there.issuer, **changes), SECRET, inbound)


async def doubted(ours: OpenIdConnect, there: ScriptedProvider, inbound: Inbound = INBOUND) -> str:
    """Why an answer proves nothing."""
    with pytest.raises(Unproved) as error:
        await proven(ours, there, inbound)
    return error.value.reason


async def fails(ours: OpenIdConnect, there: ScriptedProvider) -> tuple[Step, str]:
    """Which part of the connection fails."""
    with pytest.raises(ProviderAway) as error:
        await proven(ours, there)
    return error.value.step, error.value.what


# --- all is well -----------------------------------------------------------------------------------------


async def test_who_it_is(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    somebody = await proven(ours, there)
    assert (somebody.issuer, somebody.subject, somebody.login) == (there.issuer, "s-1", "Ada")
    assert (somebody.name, somebody.groups) == ("Ada L.", {"readers"})
    assert there.paths() == ["/.well-known/openid-configuration", "/jwks", "/token"]
    _, headers, form = there.asked[-1]
    assert form == {
        "grant_type": "authorization_code",
        "code": "code-1",
        "redirect_uri": INBOUND.callback,
        "code_verifier": INBOUND.verifier,
    }
    assert headers["Authorization"].startswith("Basic ")
    await proven(ours, there)
    assert there.paths()[3:] == ["/token"], "descriptions and keys are remembered"


async def test_where_the_browser_goes(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    there.description["authorization_endpoint"] = f"{there.issuer}/auth?realm=one"
    outbound = Outbound("https://pacs.example/callback", "state-1", NONCE, "challenge-1")
    address = urlsplit(await ours.address(trusted(there.issuer), outbound))
    assert parse_qs(address.query) == {
        "realm": ["one"],
        "response_type": ["code"],
        "client_id": [CLIENT_ID],
        "redirect_uri": ["https://pacs.example/callback"],
        "scope": ["openid profile"],
        "state": ["state-1"],
        "nonce": [NONCE],
        "code_challenge": ["challenge-1"],
        "code_challenge_method": ["S256"],
    }


def test_how_a_client_says_who_it_is() -> None:
    both, post = (
        frozenset({"client_secret_basic", "client_secret_post"}),
        frozenset({"client_secret_post"}),
    )
    # RFC 6749 2.3.1: encoded as in a form before it is joined by a colon.
    assert authenticated("a:b", "c d&", both)[1] == {"Authorization": "Basic YSUzQWI6YytkJTI2"}
    assert authenticated("a", "b", post) == ({"client_id": "a", "client_secret": "b"}, {})
    assert authenticated("a", None, both) == ({"client_id": "a"}, {})


def test_where_a_provider_describes_itself() -> None:
    assert discovery_url("https://x/realm/") == "https://x/realm/.well-known/openid-configuration"
    assert discovery_url("https://x") == "https://x/.well-known/openid-configuration"


async def test_groups_that_only_userinfo_knows(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    there.claims["groups"] = None
    there.more = {"groups": ["it"], "name": "another name"}
    somebody = await proven(ours, there)
    assert (somebody.groups, somebody.name) == ({"it"}, "Ada L.")
    assert there.asked[-1][1]["Authorization"] == "Bearer at"


async def test_userinfo_of_somebody_else(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    there.claims["groups"] = None
    for subject in ("s-2", None, ["s-1"]):
        there.more = {"sub": subject, "groups": ["it"]}
        assert "somebody else" in await doubted(ours, there)


# --- what it says proves nothing ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "somebody"}, "for somebody else"),
        ({"nonce": "m" * 43}, "this sign-in"),
        ({"exp": 1}, "expired"),
        ({"sub": None}, "no subject"),
    ],
)
async def test_a02_a_token_for_somebody_else(
    ours: OpenIdConnect, there: ScriptedProvider, claims: dict[str, Any], says: str
) -> None:
    there.claims = claims
    assert says in await doubted(ours, there)


async def test_a01_what_a_token_names_is_not_fetched(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    """`jku` and `x5u` lead to a listener of the forger's, whose key has signed."""
    await proven(ours, there)
    with ScriptedProvider(key=new_key(kid="forger")) as listener:
        url = f"{listener.issuer}/jwks"
        there.places["/token"] = lambda: as_json(
            {"token_type": "Bearer", "access_token": "at", "id_token": listener.id_token()}
        )
        listener.claims = {"iss": there.issuer}
        listener.nonce = NONCE
        listener.header = {"jku": url, "x5u": url, "kid": there.key.kid}
        assert "signature" in await doubted(ours, there)
        assert listener.asked == []


@pytest.mark.parametrize("token", [None, "", "a.b.c", 7, ["x"], {"a": 1}])
async def test_an_answer_without_an_id_token(
    ours: OpenIdConnect, there: ScriptedProvider, token: Any
) -> None:
    there.token["id_token"] = token
    assert await doubted(ours, there)


async def test_a02_an_id_token_is_no_access_token(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    """UserInfo is asked with a bearer token only, and one that a header can carry."""
    there.claims["groups"] = None
    there.more = {"groups": ["it"]}
    for change in (
        {"token_type": "DPoP"},
        {"access_token": "a b"},
        {"access_token": "a\r\nX: y"},
        {"access_token": 7},
    ):
        there.token = change
        assert (await proven(ours, there)).groups == frozenset()
    assert "/me" not in there.paths()


async def test_a12_mix_up_the_answer_names_another_issuer(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    """RFC 9207: a wrong `iss` always, a missing one where the provider says that it sends it."""
    for issuer in ("https://evil.example", "", there.issuer + "/"):
        assert "another provider" in await doubted(ours, there, replace(INBOUND, issuer=issuer))
    assert "/token" not in there.paths(), "its code went nowhere"
    assert await proven(ours, there, replace(INBOUND, issuer=there.issuer))
    assert await proven(ours, there)


async def test_a12_an_issuer_that_always_names_itself(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    there.description["authorization_response_iss_parameter_supported"] = True
    assert "another provider" in await doubted(ours, there)
    assert await proven(ours, there, replace(INBOUND, issuer=there.issuer))


async def test_a12_a_code_that_was_used(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    there.places["/token"] = lambda: as_json({"error": "invalid_grant"}, 400)
    assert "code" in await doubted(ours, there)


# --- keys ------------------------------------------------------------------------------------------------


async def test_a_new_key_is_found_and_strangers_do_not_make_us_look(
    ours: OpenIdConnect, there: ScriptedProvider, clock: Hands
) -> None:
    await proven(ours, there)
    there.key = new_key(kid="k2")
    assert await proven(ours, there)
    assert there.paths().count("/jwks") == 2
    there.header = {"kid": "../../k3"}
    for _ in range(5):
        assert "does not show" in await doubted(ours, there)
    clock.ahead += 61
    assert "does not show" in await doubted(ours, there)
    assert there.paths().count("/jwks") == 3


async def test_keys_are_asked_for_anew_in_an_hour(
    ours: OpenIdConnect, there: ScriptedProvider, clock: Hands
) -> None:
    await proven(ours, there)
    clock.ahead += 3601
    there.claims = {"iat": int(clock.now().timestamp()), "exp": int(clock.now().timestamp()) + 300}
    await proven(ours, there)
    assert there.paths().count("/jwks") == 2


# --- it fails, and at what -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "answer", "step"),
    [
        ("/.well-known/openid-configuration", (404, "text/html", b"no"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (500, "application/json", b"{}"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "text/html", b"{}"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "application/json", b"{"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "application/json", b"[]"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "application/json", b"[" * 99999), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "application/json", b"\xff\xfe"), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (200, "application/json", b" " * (LIMIT + 1)), Step.DISCOVERY),
        ("/.well-known/openid-configuration", (302, "text/html", b"http://127.0.0.1:9/"), Step.DISCOVERY),
        ("/jwks", (200, "application/json", b'{"keys": []}'), Step.KEYS),
        ("/jwks", (200, "application/json", b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'), Step.KEYS),
        ("/jwks", (503, "text/plain", b""), Step.KEYS),
        ("/token", (500, "text/plain", b""), Step.TOKEN),
        ("/token", (200, "text/html", b"<html>"), Step.TOKEN),
        ("/token", (302, "text/html", b"http://127.0.0.1:9/"), Step.TOKEN),
        ("/token", (401, "application/json", b'{"error": "invalid_client"}'), Step.CLIENT),
    ],
)  # fmt: skip
async def test_which_part_fails(
    ours: OpenIdConnect, there: ScriptedProvider, path: str, answer: Any, step: Step
) -> None:
    there.places[path] = lambda: answer
    assert (await fails(ours, there))[0] is step


@pytest.mark.parametrize("issuer", ["https://evil.example", None, 7, "http://127.0.0.1:1"])
async def test_a_description_of_somebody_else(
    ours: OpenIdConnect, there: ScriptedProvider, issuer: Any
) -> None:
    there.description["issuer"] = issuer
    assert (await fails(ours, there))[0] is Step.ISSUER


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"]
)
@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/x", "file:///etc/passwd", "/relative", "", 7, "http://169.254.169.254/"],
)
async def test_a_description_that_leads_inside(
    ours: OpenIdConnect, there: ScriptedProvider, name: str, url: Any
) -> None:
    there.description[name] = url
    assert (await fails(ours, there))[0] is Step.DISCOVERY


async def test_a_provider_that_failed_is_left_alone_for_a_moment(
    ours: OpenIdConnect, there: ScriptedProvider, clock: Hands
) -> None:
    there.places["/jwks"] = lambda: (503, "text/plain", b"")
    for _ in range(5):
        await fails(ours, there)
    assert there.paths().count("/jwks") == 1
    there.places.clear()
    clock.ahead += 6
    assert await proven(ours, there)


async def test_nobody_is_sent_to_a_provider_that_has_gone_since(
    ours: OpenIdConnect, there: ScriptedProvider, clock: Hands
) -> None:
    outbound = Outbound("https://pacs.example/callback", "s", NONCE, "c")
    assert await ours.address(trusted(there.issuer), outbound)
    there.stop()
    clock.ahead += 6
    with pytest.raises(ProviderAway) as away:
        await ours.address(trusted(there.issuer), outbound)
    assert away.value.step is Step.CONNECTION


async def test_a_crowd_asks_once(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    await asyncio.gather(*(proven(ours, there) for _ in range(20)))
    assert there.paths().count("/.well-known/openid-configuration") == 1
    assert there.paths().count("/token") == 20


# --- sockets that lie ------------------------------------------------------------------------------------


@contextmanager
def listening(say: bytes, *, end: bool) -> Iterator[str]:
    """A listener that says something to everybody, then hangs up, or says nothing more."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.sendall(say)
                held.append(client)
                if end:
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for client in held:
            client.close()


@pytest.mark.parametrize(
    ("say", "end"),
    [
        (b"", False),
        (b"", True),
        (b"SSH-2.0-OpenSSH_9\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", False),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 50, False),
    ],
)  # fmt: skip
async def test_what_hangs_or_speaks_nonsense_is_given_up(say: bytes, end: bool) -> None:
    outgoing = Outgoing(deadline=0.5)
    with listening(say, end=end) as issuer:
        with pytest.raises(ProviderAway) as away:
            await OpenIdConnect(SystemClock(), outgoing).proven(trusted(issuer), None, INBOUND)
        assert away.value.step is Step.DISCOVERY
        await asyncio.to_thread(outgoing._threads.shutdown, wait=True)  # no thread stays with it


async def test_nothing_there(ours: OpenIdConnect) -> None:
    for issuer, step in (
        (f"http://127.0.0.1:{free_port()}", Step.CONNECTION),
        ("https://nowhere.invalid", Step.ADDRESS),
    ):
        with pytest.raises(ProviderAway) as away:
            await ours.proven(trusted(issuer), None, INBOUND)
        assert away.value.step is step


# --- TLS ---------------------------------------------------------------------------------------------------


@contextmanager
def over_tls(name: str, authority: trustme.CA) -> Iterator[ScriptedProvider]:
    """A provider with a certificate for that name."""
    with ScriptedProvider(nonce=NONCE) as provider:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(server)
        provider._server.socket = server.wrap_socket(
            provider._server.socket, server_side=True, do_handshake_on_connect=False
        )
        provider.issuer = f"https://localhost:{provider._server.server_address[1]}"
        yield provider


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_certificate_is_checked() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    with over_tls("localhost", authority) as there:
        good = OpenIdConnect(SystemClock(), Outgoing(trust=trusting(authority)))
        assert (await proven(good, there)).subject == "s-1"
        found = await good.examine(trusted(there.issuer), SECRET)
        assert [f.step for f in found if f.good][:3] == [Step.ADDRESS, Step.CONNECTION, Step.TLS]
        for context in (trusting(stranger), None):
            bad = OpenIdConnect(SystemClock(), Outgoing(trust=context))
            with pytest.raises(ProviderAway) as away:
                await proven(bad, there)
            assert away.value.step is Step.TLS
    with over_tls("other.example", authority) as there:
        with pytest.raises(ProviderAway) as away:
            await proven(OpenIdConnect(SystemClock(), Outgoing(trust=trusting(authority))), there)
        assert away.value.step is Step.TLS


async def test_plain_where_tls_is_expected(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    there.issuer = there.issuer.replace("http:", "https:")
    assert (await fails(ours, there))[0] is Step.TLS


# --- "test connection" ---------------------------------------------------------------------------------


async def test_each_part_is_looked_at(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    there.places["/token"] = lambda: as_json({"error": "invalid_grant"}, 400)
    found = await ours.examine(trusted(there.issuer), SECRET)
    assert [(f.step, f.good) for f in found] == [
        (step, True)
        for step in (
            Step.ADDRESS, Step.CONNECTION, Step.TLS, Step.DISCOVERY, Step.ISSUER, Step.CLOCK, Step.KEYS,
            Step.CLIENT,
        )
    ]  # fmt: skip
    assert "not refuse" in found[-1].text


async def test_where_looking_ends(ours: OpenIdConnect, there: ScriptedProvider) -> None:
    async def last() -> tuple[Step, bool, int]:
        found = await ours.examine(trusted(there.issuer), SECRET)
        assert all(finding.good for finding in found[:-1])
        return found[-1].step, found[-1].good, len(found)

    there.places["/token"] = lambda: as_json({"error": "invalid_client"}, 401)
    assert await last() == (Step.CLIENT, False, 8)
    there.places["/jwks"] = lambda: (404, "text/plain", b"")
    assert await last() == (Step.KEYS, False, 7)
    there.description["issuer"] = "https://other.example"
    assert await last() == (Step.ISSUER, False, 5)
    there.places["/.well-known/openid-configuration"] = lambda: (404, "text/plain", b"")
    assert await last() == (Step.DISCOVERY, False, 4)
    there.stop()
    assert await last() == (Step.CONNECTION, False, 2)


async def test_where_signing_out_leads_is_looked_at_where_it_is_to(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    there.places["/token"] = lambda: as_json({"error": "invalid_grant"}, 400)

    async def last(*, end_session: bool) -> tuple[Step, bool]:
        found = await ours.examine(trusted(there.issuer, end_session=end_session), SECRET)
        return found[-1].step, found[-1].good

    assert await last(end_session=False) == (Step.CLIENT, True)
    assert await last(end_session=True) == (Step.SIGN_OUT, False)
    there.description["end_session_endpoint"] = f"{there.issuer}/end"
    assert await last(end_session=True) == (Step.SIGN_OUT, True)


async def test_a_clock_that_is_wrong(
    ours: OpenIdConnect, there: ScriptedProvider, clock: Hands
) -> None:
    clock.ahead += 300
    found = await ours.examine(trusted(there.issuer), SECRET)
    assert (found[-1].step, found[-1].good) == (Step.CLOCK, False)
    assert "s apart" in found[-1].text


# --- out again -------------------------------------------------------------------------------------------

FAREWELL = Farewell("s-1 & co", "https://pacs.example/t/clinic/sign-in", "signed-out")


async def test_where_the_browser_ends_its_session_there(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    """RP-Initiated Logout 1.0, 2: without an ID token, which nobody keeps, the client says who it is."""
    there.description["end_session_endpoint"] = f"{there.issuer}/end"
    address = await ours.way_out(trusted(there.issuer), FAREWELL)
    assert address is not None
    place, _, query = address.partition("?")
    assert place == f"{there.issuer}/end"
    assert parse_qs(query) == {
        "client_id": [CLIENT_ID],
        "logout_hint": ["s-1 & co"],
        "post_logout_redirect_uri": [FAREWELL.back],
        "state": ["signed-out"],
    }
    alone = await ours.way_out(trusted(there.issuer), replace(FAREWELL, back=""))
    assert alone is not None
    assert set(parse_qs(urlsplit(alone).query)) == {"client_id", "logout_hint"}


async def test_an_address_with_a_query_of_its_own(
    ours: OpenIdConnect, there: ScriptedProvider
) -> None:
    there.description["end_session_endpoint"] = f"{there.issuer}/end?p=policy"
    address = await ours.way_out(trusted(there.issuer), FAREWELL)
    assert address is not None
    assert address.startswith(f"{there.issuer}/end?p=policy&client_id=")


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "",
        7,
        "javascript:alert(1)",
        "data:text/html,x",
        "http://id.example/end",  # plain, elsewhere
        "https://id.example/end#fragment",
        "https://ada@id.example/end",
        "//id.example/end",
        "https://id.example/end\r\nSet-Cookie: x=1",
    ],
)
async def test_a12_nobody_is_sent_where_a_description_must_not_lead(
    ours: OpenIdConnect, there: ScriptedProvider, endpoint: object
) -> None:
    """And it shuts nobody out of signing in."""
    there.description["end_session_endpoint"] = endpoint
    assert await ours.way_out(trusted(there.issuer), FAREWELL) is None
    assert (await proven(ours, there)).subject == "s-1"


async def test_a_provider_that_is_away_or_hangs_is_told_soon(
    ours: OpenIdConnect, there: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.stop()
    with pytest.raises(ProviderAway) as gone:
        await ours.way_out(trusted(there.issuer), FAREWELL)
    assert gone.value.step is Step.CONNECTION
    monkeypatch.setattr("lightwell.backends.identity.openid.WAY_OUT", 0.2)
    with listening(b"", end=False) as issuer, pytest.raises(ProviderAway, match="too long"):
        await ours.way_out(trusted(issuer), FAREWELL)


@pytest.mark.parametrize(
    "host", ["127.1", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1]"]
)
async def test_a12_no_other_spelling_of_this_machine_is_called(host: str) -> None:
    """SSRF: an administrator of a tenant finds no open ports here by testing a provider."""
    outgoing = Outgoing(deadline=3)
    try:
        with pytest.raises(ProviderAway) as away:
            await outgoing.get(Step.DISCOVERY, f"https://{host}:9/.well-known/openid-configuration")
    finally:
        outgoing.close()
    assert away.value.step is Step.ADDRESS
