"""An identity provider that is away, silent and slow, and that changes its keys."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx

from evaluations.chaos.callers import Caller
from evaluations.chaos.calling import call
from evaluations.chaos.corpus import TENANTS, asked
from evaluations.chaos.rows import Outcome, Plan, Row, under_load
from evaluations.chaos.stack import Stack
from rag.testing_issuer import rsa_key

_COOLDOWN_SECONDS = 30.0  # identity.oidc.cooldown_seconds
_PEOPLE = 8


async def issuer_away(stack: Stack, plan: Plan) -> Outcome:
    """F23"""
    each = plan.seconds(15)
    link = stack.issuer_link

    def hurt() -> None:
        link.become("reset")
        time.sleep(each)
        link.become("silent")
        time.sleep(each)
        link.become("slow", 5.0)
        time.sleep(each)
        link.become("none")

    entry = replace(stack.entry, callers=_people(stack, "rsa-1"))
    load = await under_load(entry, plan.rate, 3 * each + 10, hurt)
    stack.issuer.publish("rsa-2", rsa_key())
    after = await _accepted_after(stack, _people(stack, "rsa-2")[0])
    passed = not load.lost and load.clean and after <= _COOLDOWN_SECONDS + 2
    return Outcome(passed, f"{load.words()}; every node took tokens of a new key after {after:.1f} s", load.figures())


def _people(stack: Stack, key_id: str) -> tuple[Caller, ...]:
    """People of both tenants in turn, with tokens of this key."""
    return tuple(
        Caller(tenant, stack.issuer.token(key_id, sub=f"token-{number}", tenant=tenant.name, roles=["user"]))
        for number in range(_PEOPLE)
        for tenant in TENANTS
    )


async def _accepted_after(stack: Stack, caller: Caller) -> float:
    """Seconds until every node has answered this caller."""
    began = time.perf_counter()
    for number in range(len(stack.nodes)):
        entry = stack.node_entry(number)
        async with entry.client() as client:
            while (await call(client, entry, asked(0, stream=False), caller=caller)).status == httpx.codes.UNAUTHORIZED:
                if time.perf_counter() - began > 4 * _COOLDOWN_SECONDS:
                    return float("inf")
                time.sleep(0.3)  # noqa: ASYNC251 - nothing else runs
    return time.perf_counter() - began


ROWS = (Row("F23", "the issuer's keys out of reach, slow, changed", "no error; new keys within 30 s", issuer_away),)
