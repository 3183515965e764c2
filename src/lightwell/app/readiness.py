"""Ready or not, and the numbers of all processes: what `/readyz` and `/metrics` say."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.core import CollectorRegistry, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lightwell.app.heartbeat import (
    ANSWERS,
    PERIOD_SECONDS,
    STALE_SECONDS,
    STORES,
    USAGE,
    Beat,
    beats,
)
from lightwell.app.settings import Endpoint
from lightwell.app.wiring import House
from lightwell.domain.archive.ports import BlobStore
from lightwell.kernel.errors import LightwellError

PROBE_SECONDS = 2.0
CONNECT_SECONDS = 1.0


def expected(workers: int) -> list[str]:
    """The processes without which the server is half alive (an HTTP worker is asking)."""
    return [*(f"dimse-{number}" for number in range(1, workers + 1)), "work"]


def silent(wanted: Iterable[str], heard: Iterable[Beat]) -> dict[str, str]:
    """Which of them were not heard of lately, and since when."""
    ages = {beat.name: beat.age for beat in heard}
    found = {}
    for name in wanted:
        age = ages.get(name)
        if age is None:
            found[name] = "not started"
        elif age > STALE_SECONDS:
            found[name] = f"silent for {age:.0f} s"
    return found


class Readiness:
    """Looks at processes, doors and the stores; keeps an answer for two seconds."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._probed_at = float("-inf")
        self._store_problems: dict[str, str] = {}
        self._probing = asyncio.Lock()

    async def problems(self) -> dict[str, str]:
        """What is not ready; empty when every door is open and the store has answered: of several, one."""
        settings = self._house.settings
        found: dict[str, str] = {}
        try:
            found |= silent(expected(settings.workers), await beats(self._house))
        except LightwellError as error:
            found["database"] = error.message
        for name, endpoint in (("dimse", settings.dimse), ("dimse-tls", settings.dimse_tls)):
            if endpoint is not None and not await asyncio.to_thread(_opens, endpoint):
                found[name] = f"{endpoint} does not accept"
        problems = await self._stores()
        if len(problems) == len(self._house.stores):
            found |= problems
        return found

    async def away(self) -> dict[str, str]:
        """Stores that do not answer while those of other regions do: their tenants wait, others do not."""
        problems = await self._stores()
        return {} if len(problems) == len(self._house.stores) else problems

    async def _stores(self) -> dict[str, str]:
        """A real put and get in each, at most every two seconds, all at the same time."""
        async with self._probing:
            if time.monotonic() - self._probed_at > PROBE_SECONDS:
                stores = self._house.stores
                said = await asyncio.gather(*(_asked(store) for store in stores.values()))
                names = ["store"] if len(stores) == 1 else [f"store {name}" for name in stores]
                answers = zip(names, said, strict=True)
                self._store_problems = {name: text for name, text in answers if text is not None}
                self._probed_at = time.monotonic()
            return self._store_problems


async def _asked(store: BlobStore) -> str | None:
    """What a store fails with; None when it works."""
    try:
        await asyncio.to_thread(store.probe)
    except (LightwellError, OSError) as error:
        return str(error)
    return None


def _opens(endpoint: Endpoint) -> bool:
    """Whether a TCP connection can be made; it is closed at once."""
    host = "127.0.0.1" if endpoint.host in ("0.0.0.0", "") else endpoint.host
    with contextlib.suppress(OSError):
        socket.create_connection((host, endpoint.port), CONNECT_SECONDS).close()
        return True
    return False


class Numbers(Collector):
    """The latest beats of all processes as Prometheus gauges, labelled with the process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._heard: list[Beat] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def listen(self) -> None:
        """Keep the beats fresh, until cancelled."""
        while True:
            with contextlib.suppress(LightwellError):
                self._heard = await beats(self._house)
            await asyncio.sleep(PERIOD_SECONDS)

    def text(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def tenants_text(self) -> bytes:
        """What each tenant keeps and may, as exposition text: for who may know which tenants there are."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_TenantNumbers(self._heard))
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client: one family a number, one sample a process."""
        age = GaugeMetricFamily(
            "lightwell_process_last_heard_seconds", "Age of the last heartbeat.", labels=["process"]
        )
        families: dict[str, GaugeMetricFamily] = {}
        for beat in self._heard:
            age.add_metric([beat.name], beat.age)
            for name, value in beat.detail.items():
                family = families.get(name)
                if family is None:
                    family = GaugeMetricFamily(
                        f"lightwell_{name}", name.replace("_", " "), labels=["process"]
                    )
                    families[name] = family
                family.add_metric([beat.name], value)
        return [age, *families.values(), *self._of_regions()]

    def _of_regions(self) -> Iterable[Metric]:
        """What the stores of several regions say, labelled with the region too."""
        answers = GaugeMetricFamily(
            "lightwell_region_store_answers",
            "Whether the store of a region does what it should (1) or not (0).",
            labels=["region"],
        )
        families: dict[str, GaugeMetricFamily] = {}
        for beat in self._heard:
            for region, good in beat.facts.get(ANSWERS, {}).items():
                answers.add_metric([region], float(good))
            for region, numbers in beat.facts.get(STORES, {}).items():
                for name, value in numbers.items():
                    if name not in families:
                        families[name] = GaugeMetricFamily(
                            f"lightwell_{name}",
                            name.replace("_", " "),
                            labels=["process", "region"],
                        )
                    families[name].add_metric([beat.name, region], value)
        return [answers, *families.values()] if answers.samples else families.values()


_OF_TENANTS = (
    ("studies", "Studies that a tenant keeps."),
    ("stored_bytes", "Bytes that a tenant keeps, as they lie in the store."),
    ("quota_studies", "Studies that a tenant may keep; no sample: no limit."),
    ("quota_bytes", "Bytes that a tenant may keep; no sample: no limit."),
)


class _TenantNumbers(Collector):
    """The use of quotas as `work` last told it, labelled with the tenant."""

    def __init__(self, heard: list[Beat]) -> None:
        self._heard = heard

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        families = [
            GaugeMetricFamily(f"lightwell_tenant_{name}", says, labels=["tenant"])
            for name, says in _OF_TENANTS
        ]
        for beat in self._heard:
            for tenant, numbers in beat.facts.get(USAGE, {}).items():
                for family, value in zip(families, numbers, strict=True):
                    if value is not None:
                        family.add_metric([tenant], value)
        return families
