"""The firewall: keeps the desired rules in place, and reports rejected packets."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stager.helper.firewall import iptables, tables
from stager.helper.firewall.policy import POLICIES, POLICY, TAG, TRUSTED, UNTRUSTED, Policy, policy_of
from stager.helper.firewall.rejections import Blocked, Listener
from stager.helper.firewall.resolvers import DAEMON, read_resolvers
from stager.helper.firewall.rules import FAMILIES, Chains, FirewallOptions, chains_of
from stager.helper.protocol import HelperError, refused
from stager.helper.shapes import fields, text
from stager.helper.verbs import Feature, Result, Verb, failed

log = logging.getLogger("stager-helper")

LOG_GROUP = 717

TRIES = 5
"""How often the rules are set until they are found in place. While Docker creates a network, its own rules
come first for a moment: it inserts them, and then moves its jump to DOCKER-USER before them again."""
PAUSE = 0.1
"""Seconds between two tries. Docker needs about as long for a network."""


class Firewall(Feature):
    """See `docs/how-to/root-helper.md`.

    Args:
        options: what root has set on the command line.
        policies_file: stores the policies of installations, so that a restarted helper keeps the exceptions
            of running previews. Like the rules, it doesn't survive a reboot.
        docker: Docker's `daemon.json`, which may have name servers.
    """

    name = "firewall"

    def __init__(self, options: FirewallOptions, policies_file: Path, docker: Path = DAEMON) -> None:
        self._options = options
        self._policies_file = policies_file
        self._docker = docker
        self._policies: dict[str, Policy] = {}
        self._applied: dict[int, tuple[Chains, Chains]] = {}
        """The chains that were last set, by family, and the kernel's rendering of them."""
        self._lock = threading.Lock()
        self._problem = "The firewall's rules haven't been set yet."
        self._log_problem = ""
        self._blocked = Blocked()
        self._listener: Listener | None = None

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Feature.add_arguments`."""
        group = parser.add_argument_group("firewall")
        group.add_argument("--chains", type=_matching(r"STAGER(-[A-Z0-9]{1,6})?"), default="STAGER",
                           help="prefix of the names of its chains; default: %(default)s")  # fmt: skip
        group.add_argument("--tag", type=_matching("([0-9a-f]{4})?"), default="",
                           help="protect only the bridges of this installation; default: all")  # fmt: skip
        group.add_argument("--builder-link", type=_matching("pvf[a-z0-9]{1,11}"), default="pvfbuild",
                           help="interface of the untrusted builder; default: %(default)s")  # fmt: skip
        group.add_argument("--log-group", type=int, metavar="NUMBER", default=LOG_GROUP,
                           help="NFLOG group of rejected packets, 0: none; default: %(default)s")  # fmt: skip
        group.add_argument("--docker-config", type=Path, default=DAEMON,
                           help="Docker's daemon.json, for its dns; default: %(default)s")  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Firewall:
        """See `Feature.of`."""
        options = FirewallOptions(
            arguments.chains, arguments.tag, arguments.builder_link, arguments.log_group
        )
        policies_file = arguments.socket.with_name(f"{arguments.socket.name}.policies")
        return cls(options, policies_file, arguments.docker_config)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        return self._problem

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        yield Verb("firewall-apply", POLICY, self._apply, queue=self.name, timeout=30.0)
        tag = fields(tag=text(r"[0-9a-f]{4}", "an installation's tag of four hex digits"))
        yield Verb("firewall-blocked", tag, self._rejected, queue="blocked")

    def start(self) -> None:
        """See `Feature.start`. The helper starts even if the rules can't be set."""
        if self._options.log_group:
            try:
                self._listener = Listener(self._options.log_group, self._blocked)
            except OSError as error:
                self._disable_log(str(error))
        self._load()
        try:
            self._ensure_with_or_without_log()
        except HelperError as error:
            log.warning("%s", error.message)

    def _ensure_with_or_without_log(self) -> None:
        """Set the rules without a log if the kernel doesn't support one."""
        try:
            self.ensure()
        except HelperError as error:
            if not self._options.log_group:
                raise
            self._disable_log(error.message)
            self.ensure()

    def _disable_log(self, why: str) -> None:
        self._options = replace(self._options, log_group=0)
        self._log_problem = f"Rejected packets can't be logged: {why}"
        log.warning("%s", self._log_problem)

    def tick(self) -> None:
        """See `Feature.tick`."""
        problem = self._problem
        try:
            if self.ensure():
                log.info("rules were missing and have been restored")
        except HelperError as error:
            if error.message != problem:
                raise

    def stop(self) -> None:
        """See `Feature.stop`. The rules stay."""
        if self._listener is not None:
            self._listener.close()

    def ensure(self) -> bool:
        """Set the desired rules unless they are in place; returns whether they weren't. Thread-safe. Raises
        `HelperError`."""
        with self._lock:
            return self._ensure_all()

    def _ensure_all(self) -> bool:
        try:
            resolvers = read_resolvers(daemon=self._docker)
            families = [family for family in FAMILIES if iptables.has_family(family)]
            with ThreadPoolExecutor(len(families)) as pool:
                changed = list(pool.map(lambda family: self._ensure(family, resolvers), families))
        except HelperError as error:
            self._problem = error.message
            raise
        self._problem = ""
        return any(changed)

    def _ensure(self, family: int, resolvers: tuple[str, ...]) -> bool:
        desired = chains_of(self._options, list(self._policies.values()), resolvers, family)
        table = tables.read(iptables.save(family))
        last, shown = self._applied.get(family, (None, None))
        is_unchanged = tables.ours(table, desired) == shown and tables.is_reached(table, self._options)
        if desired == last and is_unchanged:
            return False
        for number in range(TRIES):
            if number:
                time.sleep(PAUSE)
                table = tables.read(iptables.save(family))
            iptables.restore(family, tables.restore_script(table, desired, self._options))
            table = tables.read(iptables.save(family))
            found = tables.ours(table, desired)
            if tables.is_reached(table, self._options) and _counts(found) == _counts(desired):
                self._applied[family] = (desired, found)
                return True
        raise failed(
            "The firewall's rules were set, but are missing again.",
            "firewall-lost",
            "Another program may have removed them.",
        )

    def _apply(self, values: Mapping[str, Any]) -> Result:
        policy = policy_of(values)
        if self._options.tag and policy.tag != self._options.tag:
            raise refused(
                f"This helper protects only the installation {self._options.tag}.", "other-installation"
            )
        if policy.tag not in self._policies:
            self._evict_policy()
        if self._policies.get(policy.tag) != policy:
            self._policies[policy.tag] = policy
            _write(self._policies_file, [asdict(each) for each in self._policies.values()])
        return {"changed": self.ensure()}

    def _evict_policy(self) -> None:
        """If there are too many installations, remove the policy of the oldest one without bridges. That one
        applies its policy again before it starts a preview. Raises `HelperError`."""
        if len(self._policies) < POLICIES:
            return
        active = active_tags()
        evicted = next((tag for tag in self._policies if tag not in active), None)
        if evicted is None:
            raise refused(
                f"There are already {POLICIES} installations with previews on this machine.", "too-many"
            )
        log.info("policy of installation %s, which has no previews, removed", evicted)
        del self._policies[evicted]

    def _rejected(self, values: Mapping[str, Any]) -> Result:
        return {"blocked": self._blocked.rows(values["tag"]), "unavailable": self._log_problem}

    def _load(self) -> None:
        try:
            for each in json.loads(self._policies_file.read_text()):
                policy = policy_of(POLICY(each, "policy"))
                self._policies[policy.tag] = policy
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, HelperError) as error:
            log.warning("%s can't be read: %s", self._policies_file, error)


def active_tags() -> set[str]:
    """Return the tags of installations that have bridges on this machine."""
    names = (name for _, name in socket.if_nameindex() if name.startswith((TRUSTED, UNTRUSTED)))
    return {name[len(TRUSTED) :][:TAG] for name in names}


def _counts(chains: Chains) -> dict[str, int]:
    return {chain: len(rules) for chain, rules in chains.items()}


def _write(path: Path, value: object) -> None:
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file)
    new.replace(path)


def _matching(pattern: str) -> Any:
    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise argparse.ArgumentTypeError(f"{value!r} doesn't match {pattern}")
        return value

    return read
