"""The `filter` table in the form of `iptables-save`: parsed, compared, and changed. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stager.helper.firewall.rules import Chains, FirewallOptions

USER = "DOCKER-USER"
"""Docker's chain for user-defined rules, which comes before Docker's own rules."""

OTHERS = r"-j STAGER(-[A-Z0-9]+)*"
"""Jumps of another helper. They match its own bridges only, so they may come before ours."""


def read(saved: str) -> Chains:
    """Return the rules of each chain, without `-A CHAIN`."""
    chains: Chains = {}
    for line in saved.splitlines():
        if line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            chains[chain].append(rule)
    return chains


def ours(table: Mapping[str, Sequence[str]], desired: Mapping[str, object]) -> Chains:
    """Return our chains in this table, without missing ones."""
    return {chain: list(table[chain]) for chain in desired if chain in table}


def is_reached(table: Mapping[str, Sequence[str]], options: FirewallOptions) -> bool:
    """Whether our chains come before all other rules."""
    return _comes_first(table, "INPUT", options.inward) and _is_before_docker(table, options)


def _is_before_docker(table: Mapping[str, Sequence[str]], options: FirewallOptions) -> bool:
    if _comes_first(table, "FORWARD", options.outward):
        return True
    return _comes_first(table, "FORWARD", USER) and _comes_first(table, USER, options.outward)


def _comes_first(table: Mapping[str, Sequence[str]], chain: str, target: str) -> bool:
    kind = target.rsplit("-", 1)[-1]
    for rule in table.get(chain, ()):
        if rule == f"-j {target}":
            return True
        if not re.fullmatch(rf"{OTHERS}-{kind}", rule):
            return False
    return False


def restore_script(
    table: Mapping[str, Sequence[str]], desired: Mapping[str, Sequence[str]], options: FirewallOptions
) -> str:
    """Return the input for `iptables-restore --noflush` that creates the desired chains and moves the jumps
    to them to the first place, atomically.

    Args:
        table: the current table. If another program removes a jump meanwhile, the script fails without any
            change and must be created again.
        desired: the desired chains.
        options: the command line's.
    """
    stale = [chain for chain in table if _is_group_chain(chain, options) and chain not in desired]
    lines = ["*filter", *(f":{chain} - [0:0]" for chain in (*desired, *stale))]
    lines += [f"-A {chain} {rule}" for chain, rules in desired.items() for rule in rules]
    lines += _jumps(table, "INPUT", options.inward)
    if USER in table:
        lines += _jumps(table, USER, options.outward)
    if not _comes_first(table, "FORWARD", USER) or USER not in table:
        lines += _jumps(table, "FORWARD", options.outward)
    lines += [f"-X {chain}" for chain in stale]
    return "\n".join([*lines, "COMMIT", ""])


def _is_group_chain(chain: str, options: FirewallOptions) -> bool:
    return re.fullmatch(rf"({options.inward}|{options.outward})-\d+", chain) is not None


def _jumps(table: Mapping[str, Sequence[str]], chain: str, target: str) -> list[str]:
    jump = f"-j {target}"
    stale = [f"-D {chain} {jump}" for rule in table.get(chain, ()) if rule == jump]
    return [*stale, f"-I {chain} 1 {jump}"]
