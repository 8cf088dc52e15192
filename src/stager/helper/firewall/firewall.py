"""The firewall: keeps the wanted rules in place, and tells what they rejected."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stager.helper.firewall import iptables, tables
from stager.helper.firewall.policy import POLICIES, POLICY, TAG, TRUSTED, UNTRUSTED, Policy, policy_of
from stager.helper.firewall.rejections import Blocked, Listener
from stager.helper.firewall.resolvers import DAEMON, read_resolvers
from stager.helper.firewall.rules import FAMILIES, Chains, Place, chains_of
from stager.helper.protocol import HelperError, refused
from stager.helper.shapes import fields, text
from stager.helper.verbs import Feature, Result, Verb, failed

log = logging.getLogger("stager-helper")

LOG_GROUP = 717


class Firewall(Feature):
    """See `docs/how-to/root-helper.md`.

    Args:
        memory: a file in which what is wanted outlives this process, so that a new one doesn't take away what
            running previews have. It is as good as the rules: gone with a boot.
        docker: Docker's `daemon.json`, which may name resolvers.
    """

    name = "firewall"

    def __init__(self, place: Place, memory: Path, docker: Path = DAEMON) -> None:
        self._place = place
        self._memory = memory
        self._docker = docker
        self._policies: dict[str, Policy] = {}
        self._put: dict[int, tuple[Chains, Chains]] = {}
        """What was wanted when the rules were last set, and how the kernel then told them."""
        self._setting = threading.Lock()
        self._trouble = "The rules haven't been set yet."
        self._deaf = ""
        self._blocked = Blocked()
        self._listener: Listener | None = None

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Feature.add_arguments`."""
        group = parser.add_argument_group("firewall")
        group.add_argument("--chains", type=_matching(r"STAGER(-[A-Z0-9]{1,6})?"), default="STAGER",
                           help="what its chains' names begin with; default: %(default)s")  # fmt: skip
        group.add_argument("--tag", type=_matching("([0-9a-f]{4})?"), default="",
                           help="guard the bridges of this installation only; default: all")  # fmt: skip
        group.add_argument("--builder-link", type=_matching("pvf[a-z0-9]{1,11}"), default="pvfbuild",
                           help="the untrusted builder's interface; default: %(default)s")  # fmt: skip
        group.add_argument("--log-group", type=int, metavar="NUMBER", default=LOG_GROUP,
                           help="NFLOG group for what is blocked, 0: none; default: %(default)s")  # fmt: skip
        group.add_argument("--docker-config", type=Path, default=DAEMON,
                           help="Docker's daemon.json, for its dns; default: %(default)s")  # fmt: skip

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Firewall:
        """See `Feature.of`."""
        place = Place(arguments.chains, arguments.tag, arguments.builder_link, arguments.log_group)
        memory = arguments.socket.with_name(f"{arguments.socket.name}.policies")
        return cls(place, memory, arguments.docker_config)

    def unavailable(self) -> str:
        """See `Feature.unavailable`."""
        return self._trouble

    def verbs(self) -> Iterable[Verb]:
        """See `Feature.verbs`."""
        yield Verb("firewall-apply", POLICY, self._apply, lane=self.name, timeout=30.0)
        tag = fields(tag=text(r"[0-9a-f]{4}", "an installation's tag, four hex digits"))
        yield Verb("firewall-blocked", tag, self._tell, lane="blocked")

    def start(self) -> None:
        """See `Feature.start`. A machine on which no rules can be set has a helper nevertheless."""
        if self._place.log_group:
            try:
                self._listener = Listener(self._place.log_group, self._blocked)
            except OSError as error:
                self._do_without_log(str(error))
        self._remember()
        try:
            self._ensure_with_log_or_without()
        except HelperError as error:
            log.warning("%s", error.message)

    def _ensure_with_log_or_without(self) -> None:
        """A kernel may lack what tells of blocked packets; that is no reason not to block them."""
        try:
            self.ensure()
        except HelperError as error:
            if not self._place.log_group:
                raise
            self._do_without_log(error.message)
            self.ensure()

    def _do_without_log(self, why: str) -> None:
        self._place = replace(self._place, log_group=0)
        self._deaf = f"What is blocked can't be told: {why}"
        log.warning("%s", self._deaf)

    def tick(self) -> None:
        """See `Feature.tick`."""
        trouble = self._trouble
        try:
            if self.ensure():
                log.info("rules were missing, and have been set again")
        except HelperError as error:
            if error.message != trouble:
                raise

    def stop(self) -> None:
        """See `Feature.stop`. The rules stay."""
        if self._listener is not None:
            self._listener.close()

    def ensure(self) -> bool:
        """Have the wanted rules in place, and say whether they weren't. Any thread may call it. Raises
        `HelperError`."""
        with self._setting:
            return self._ensure_all()

    def _ensure_all(self) -> bool:
        try:
            resolvers = read_resolvers(daemon=self._docker)
            families = [family for family in FAMILIES if iptables.has_family(family)]
            with ThreadPoolExecutor(len(families)) as pool:
                changed = list(pool.map(lambda family: self._ensure(family, resolvers), families))
        except HelperError as error:
            self._trouble = error.message
            raise
        self._trouble = ""
        return any(changed)

    def _ensure(self, family: int, resolvers: tuple[str, ...]) -> bool:
        wanted = chains_of(self._place, list(self._policies.values()), resolvers, family)
        table = tables.read(iptables.save(family))
        then, shown = self._put.get(family, (None, None))
        is_as_it_was = tables.ours(table, wanted) == shown and tables.is_reached(table, self._place)
        if wanted == then and is_as_it_was:
            return False
        iptables.restore(family, tables.restoring(table, wanted, self._place))
        table = tables.read(iptables.save(family))
        found = tables.ours(table, wanted)
        if not tables.is_reached(table, self._place) or _counts(found) != _counts(wanted):
            raise failed(
                "The firewall's rules were set, but aren't in place.",
                "firewall-lost",
                "Does another program remove them?",
            )
        self._put[family] = (wanted, found)
        return True

    def _apply(self, given: Mapping[str, Any]) -> Result:
        policy = policy_of(given)
        if self._place.tag and policy.tag != self._place.tag:
            raise refused(
                f"This helper guards the installation {self._place.tag} only.", "other-installation"
            )
        if policy.tag not in self._policies:
            self._make_room()
        if self._policies.get(policy.tag) != policy:
            self._policies[policy.tag] = policy
            _write(self._memory, [asdict(each) for each in self._policies.values()])
        return {"changed": self.ensure()}

    def _make_room(self) -> None:
        """For one more installation: forget the oldest one that has no bridge here, if there are too many. It
        asks again before it starts anything. Raises `HelperError`."""
        if len(self._policies) < POLICIES:
            return
        there = tags_there()
        gone = next((tag for tag in self._policies if tag not in there), None)
        if gone is None:
            raise refused(f"There are {POLICIES} installations with previews already.", "too-many")
        log.info("installation %s has no previews, and is forgotten", gone)
        del self._policies[gone]

    def _tell(self, given: Mapping[str, Any]) -> Result:
        return {"blocked": self._blocked.rows(given["tag"]), "unavailable": self._deaf}

    def _remember(self) -> None:
        try:
            for each in json.loads(self._memory.read_text()):
                policy = policy_of(POLICY(each, "policy"))
                self._policies[policy.tag] = policy
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, HelperError) as error:
            log.warning("%s can't be read: %s", self._memory, error)


def tags_there() -> set[str]:
    """The tags of installations that have bridges on this machine."""
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
            raise argparse.ArgumentTypeError(f"{value!r} isn't like {pattern}")
        return value

    return read
