"""Whether time tells what answers do not: names of another tenant, and logins that are there, beside such as
are nobody's (W10, A06).

    script/bench equal-time

A real server. Each pair is asked 200 times, in an order by lot, and the medians are compared; what is
promised is a difference of at most 10 %. In brackets: how far the same name is from itself. It is a
measurement and no test: a busy machine says nothing.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lightwell.domain.people import totp
from lightwell.testing.served import LOOPBACK, Served, serving
from lightwell.testing.two_tenants import Attempt, Customer, attempts, nobodys, open_paths

TRIES = 200
GUESSES = 25  # of each login: each costs an argon2id, and comes from an address of its own
PROMISED = 0.10
ROUNDS = 4


def compared(one: Callable[[], object], other: Callable[[], object], tries: int) -> dict[str, Any]:
    """Medians in milliseconds, and how far the first is from the second.

    Beside them goes a control: the second once more. While either is further off than what is promised, as
    many tries are added, some times at most: what the machine's other work did evens out, a difference stays.
    """
    order = random.Random(7)
    took: dict[str, list[float]] = {"known": [], "unknown": [], "control": []}
    measured, noise, difference = 0, 1.0, 1.0
    while measured < ROUNDS and max(abs(noise), abs(difference)) > PROMISED:
        measured += 1
        acts = [("known", one), ("unknown", other), ("control", other)]
        for _ in range(tries):
            order.shuffle(acts)
            for name, act in acts:
                began = time.perf_counter()
                act()
                took[name].append(time.perf_counter() - began)
        known, unknown, control = (statistics.median(times) * 1e3 for times in took.values())
        noise, difference = control / unknown - 1, known / unknown - 1
    return {
        "known_ms": round(known, 3),
        "unknown_ms": round(unknown, 3),
        "difference": round(difference, 3),
        "noise": round(noise, 3),
        "tries": measured * tries,
        "within": abs(difference) <= PROMISED,
    }


def of_tenants(here: Customer, other: Customer) -> dict[str, Any]:
    """Every address that reads and has a name in it."""
    client = here.client()
    paths = open_paths(client)
    theirs = {**other.names, "tenant": other.name}
    unknown = {**nobodys(other.names), "tenant": "nadir"}
    found: dict[str, Any] = {}
    pairs = zip(attempts(paths, theirs), attempts(paths, unknown), strict=True)
    for known, none in pairs:
        if known.method != "GET" or not known.own or "/sign-in/" in known.path:
            continue

        def ask(attempt: Attempt) -> Callable[[], object]:
            return lambda: attempt.by(client, "")

        found[known.label] = compared(ask(known), ask(none), TRIES)
    return found


def enrol(served: Served, login: str) -> None:
    """An account with a password and an authenticator, as its owner makes it from the link."""
    link = served.run("user", "add", login, "--role", "radiologist").stdout.strip().splitlines()[-1]
    token = link.partition("#")[2]

    def post(path: str, body: dict[str, str]) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, served.http_port, timeout=60)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/api/v1/sign-in/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {said}")
        return said

    offer = post("enrolment", {"token": token})
    text = parse_qs(urlsplit(offer["totp_uri"]).query)["secret"][0]
    secret = base64.b32decode(text + "=" * (-len(text) % 8))
    code = totp.code_at(secret, int(time.time()) // 30)
    chosen = {"password": "seven green bottles hang", "code": code}
    post("enrol", {"token": token, "ticket": offer["ticket"], **chosen})


def of_logins(served: Served, login: str) -> dict[str, Any]:
    """A wrong password of somebody who is there, and of nobody."""
    places = itertools.cycle(range(2, 250))

    def guess(name: str) -> None:
        body = json.dumps(
            {"login": name, "password": "a wrong one of good length", "code": "000000"}
        )
        source = (f"127.0.0.{next(places)}", 0)  # each address may try a few times only
        connection = http.client.HTTPConnection(
            LOOPBACK, served.http_port, timeout=60, source_address=source
        )
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/api/v1/sign-in/password", body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 401:
            raise RuntimeError(f"not 401 but {answer.status}")

    return compared(lambda: guess(login), lambda: guess("nobody"), GUESSES)


def measure_equal_time() -> dict[str, Any]:
    """Both."""
    with serving(workers=1, arguments=("--settle-after", "2")) as served:
        served.register(tenants={"quorn": (), "vesta": ()})
        customers = [Customer(served, name) for name in ("quorn", "vesta")]
        try:
            for customer in customers:
                customer.work()
            names = of_tenants(*customers)
        finally:
            for customer in customers:
                customer.close()
        enrol(served, "ada")
        logins = of_logins(served, "ada")
    return {
        "addresses": names,
        "beyond": sorted(label for label, each in names.items() if not each["within"]),
        "sign_in": logins,
    }


def main(out: Path | None) -> None:
    """Print the medians and, with a file, keep them."""
    measured = measure_equal_time()
    for label, each in {**measured["addresses"], "sign-in": measured["sign_in"]}.items():
        mark = "" if each["within"] else "  (beyond 10 %)"
        pair = f"{each['known_ms']:9.3f} {each['unknown_ms']:9.3f} ms {each['difference']:+7.1%}"
        print(f"{pair} ({each['noise']:+6.1%})  {label}{mark}")
    if out is not None:
        out.write_text(json.dumps(measured, indent=1) + "\n")
