"""The `filter` table as `iptables-save` prints it: read, compared, and changed. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stager.helper.firewall.rules import Chains, Place

USER = "DOCKER-USER"
"""Docker's chain for the rules of others; it comes before Docker's own."""

OTHERS = r"-j STAGER(-[A-Z0-9]+)*"
"""Jumps of another helper. They match its own bridges only, so that they may come before ours."""


def read(saved: str) -> Chains:
    """Each chain's rules, without `-A CHAIN`."""
    chains: Chains = {}
    for line in saved.splitlines():
        if line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            chains[chain].append(rule)
    return chains


def ours(table: Mapping[str, Sequence[str]], wanted: Mapping[str, object]) -> Chains:
    """Our chains in this table; those that are missing are left out."""
    return {chain: list(table[chain]) for chain in wanted if chain in table}


def is_reached(table: Mapping[str, Sequence[str]], place: Place) -> bool:
    """Whether nothing decides before our chains do."""
    return _comes_first(table, "INPUT", place.inward) and _is_before_docker(table, place)


def _is_before_docker(table: Mapping[str, Sequence[str]], place: Place) -> bool:
    if _comes_first(table, "FORWARD", place.outward):
        return True
    return _comes_first(table, "FORWARD", USER) and _comes_first(table, USER, place.outward)


def _comes_first(table: Mapping[str, Sequence[str]], chain: str, target: str) -> bool:
    kind = target.rsplit("-", 1)[-1]
    for rule in table.get(chain, ()):
        if rule == f"-j {target}":
            return True
        if not re.fullmatch(rf"{OTHERS}-{kind}", rule):
            return False
    return False


def restoring(table: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]], place: Place) -> str:
    """What `iptables-restore --noflush` makes the wanted chains of, and has them come first, at one stroke.

    Args:
        table: as it is. Between its reading and this somebody may remove a jump; then nothing is changed, and
            it is to be done again.
    """
    stale = [chain for chain in table if _is_a_groups(chain, place) and chain not in wanted]
    lines = ["*filter", *(f":{chain} - [0:0]" for chain in (*wanted, *stale))]
    lines += [f"-A {chain} {rule}" for chain, rules in wanted.items() for rule in rules]
    lines += _jumping(table, "INPUT", place.inward)
    if USER in table:
        lines += _jumping(table, USER, place.outward)
    if not _comes_first(table, "FORWARD", USER) or USER not in table:
        lines += _jumping(table, "FORWARD", place.outward)
    lines += [f"-X {chain}" for chain in stale]
    return "\n".join([*lines, "COMMIT", ""])


def _is_a_groups(chain: str, place: Place) -> bool:
    return re.fullmatch(rf"({place.inward}|{place.outward})-\d+", chain) is not None


def _jumping(table: Mapping[str, Sequence[str]], chain: str, target: str) -> list[str]:
    jump = f"-j {target}"
    stale = [f"-D {chain} {jump}" for rule in table.get(chain, ()) if rule == jump]
    return [*stale, f"-I {chain} 1 {jump}"]
