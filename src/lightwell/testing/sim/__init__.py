"""The deterministic simulator: one seed is one history of arrivals, faults, crashes and retries.

The real archive runs on its own event loop (`loop`: virtual time, seeded delays), on the memory twins
of database and object store, wrapped so that every step may fail, be late or never return (`world`).
Senders repeat until they have an answer (`senders`), power goes and processes are killed (`history`),
and a checker holds what was acknowledged against what is kept (`checker`).

    python -m lightwell.testing.sim 1 1000      # seeds 1 to 1000; the failing ones are printed
    LIGHTWELL_SEED=417 python -m lightwell.testing.sim     # one seed, with its trace
"""
