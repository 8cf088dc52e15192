"""Keeps a vhost file per preview, tested before nginx reloads.

nginx can only test the folder that it uses, and one invalid file makes it reject all of them. So each file is
first tested alone, then installed with a backup of the previous one, tested with all others, and rolled back
if nginx rejects it. A journal allows the process to be killed at any moment.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.names import RESERVED
from stager.domain.route import RouteTable
from stager.routers import bisection
from stager.routers.hosts import SAFE, names_of
from stager.routers.nginx.commands import Nginx, without_place
from stager.routers.nginx.template import VhostTemplate
from stager.routers.nginx.vhosts import Vhost, Vhosts

log = structlog.get_logger(__name__)

Changes = Mapping[str, Vhost | None]
"""File names with their new content; None to delete the file."""


class NginxRouter:
    """See `stager.ports.router.EdgeProxy`.

    Args:
        template: the template of a vhost file.
        folder: the folder of the vhost files.
        scratch: the folder of the journal.
        installation: the id that identifies our files.
        nginx: tests and reloads the configuration.
    """

    name = "nginx"

    def __init__(
        self, *, template: VhostTemplate, folder: Path, scratch: Path, installation: str, nginx: Nginx
    ) -> None:
        self._template = template
        self._vhosts = Vhosts(folder, installation)
        self._nginx = nginx
        self._scratch = scratch
        self._journal = scratch / "journal.json"
        self._reload_due = scratch / "reload-due"
        # One pass at a time: a thread continues even if its caller was cancelled.
        self._turn = threading.Lock()

    async def check(self) -> None:
        """Test the template with an example preview.

        Raises:
            Fault: nginx rejects its output.
        """
        text = self._template.render(slug="a-preview", host="stager.invalid", port=9)
        vhost = self._vhosts.marked("a-preview.stager.invalid", 9, text)
        error = await asyncio.to_thread(self._nginx.test_isolated, {"a-preview": vhost.text})
        if error:
            raise Fault(
                f"nginx.template_path: nginx rejects the output of {self._template.name}:"
                f" {without_place(error, 'a-preview')}.",
                reason="nginx-template",
                detail=error,
            )

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """See `EdgeProxy.apply`."""
        return await asyncio.to_thread(self._apply, table)

    def _apply(self, table: RouteTable) -> dict[str, str]:
        with self._turn:
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._recover()
            wanted, problems = self._rendered(table)
            present = self._vhosts.ours()
            ingress_ports = table.ingress_ports()

            def is_outdated(name: str) -> bool:
                return name in present and ingress_ports.get(present[name].host) != present[name].port

            changes: dict[str, Vhost | None] = {n: v for n, v in wanted.items() if present.get(n) != v}
            changes |= dict.fromkeys(filter(is_outdated, present.keys() - wanted.keys()))
            rejected = self._change(changes)
            # A file that can't be replaced stays, unless its ingress port belongs to another host now.
            rejected |= self._change(dict.fromkeys(filter(is_outdated, rejected)))
            for name, error in rejected.items():
                host = (wanted.get(name) or present[name]).host
                problems[host] = f"nginx rejects its file: {without_place(error, name)}."
            return problems

    def _rendered(self, table: RouteTable) -> tuple[dict[str, Vhost], dict[str, str]]:
        """Return the desired files by name, and the hosts that can't have one, with the reason."""
        wanted: dict[str, Vhost] = {}
        problems: dict[str, str] = {}
        for host, port in table.ingress_ports().items():
            slug, base, name = names_of(host, table.domain)
            if not SAFE.fullmatch(host) or name in RESERVED or not base:
                problems[host] = "its name can't be used as a file name for nginx."
            elif not self._vhosts.is_free(name):
                problems[host] = "nginx.target_dir has a file with its name that wasn't created by Stager."
            else:
                try:
                    text = self._template.render(slug=slug, host=base, port=port)
                except Fault as error:
                    problems[host] = error.message
                else:
                    wanted[name] = self._vhosts.marked(host, port, text)
        return wanted, problems

    def _change(self, changes: Changes) -> dict[str, str]:
        """Apply those of the changes that nginx accepts; returns the others with nginx's errors."""
        texts = {name: vhost.text for name, vhost in changes.items() if vhost}
        rejected = bisection.rejected(
            list(texts), lambda names: self._nginx.test_isolated({n: texts[n] for n in names})
        )
        names = _left(changes, rejected)
        due = self._reload_due.exists()
        if not names and not due:
            return rejected
        self._reload_due.touch()
        self._begin(names)
        try:
            rejected |= self._swap({name: changes[name] for name in names})
            runs = self._nginx.reload() if due or _left(names, rejected) else True
        except StagerError:
            self._roll_back(names, due=due)
            raise
        self._end()
        self._log(changes, rejected)
        if not runs:
            raise Retry(
                "nginx isn't running.",
                hint="Start it; it then reads the previews' files.",
                reason="nginx-stopped",
            )
        self._reload_due.unlink(missing_ok=True)
        return rejected

    def _swap(self, changes: Changes) -> dict[str, str]:
        """Install these files and roll back those that nginx rejects, which are returned."""

        def attempt(names: Sequence[str]) -> str:
            for name in names:
                self._vhosts.put(name, changes[name])
            error = self._nginx.test()
            if error:
                for name in names:
                    self._vhosts.restore(name)
                self._check_others()
            return error

        # Short names first: if nginx's hash tables are too small, the long ones don't fit.
        return bisection.rejected(sorted(changes, key=lambda name: (len(name), name)), attempt)

    def _check_others(self) -> None:
        """After a rollback, test the configuration again. Raises Fault if nginx still rejects it."""
        error = self._nginx.test()
        if error:
            raise Fault(
                f"nginx rejects its configuration, independently of Stager's files: {error}",
                hint="Stager runs `nginx.test_command` as its own user, which may need sudo.",
                reason="nginx-refused",
                detail=error,
            )

    # The journal: the names of the files that a pass changes, while they may have to be rolled back.

    def _begin(self, names: Sequence[str]) -> None:
        draft = self._journal.with_suffix(".new")
        draft.write_text(json.dumps(list(names)), encoding="utf-8")
        draft.replace(self._journal)

    def _end(self) -> None:
        # In this order: a journal without backups would delete files.
        self._journal.unlink(missing_ok=True)
        self._vhosts.delete_backups()

    def _roll_back(self, names: Sequence[str], *, due: bool) -> None:
        for name in names:
            self._vhosts.restore(name)
        self._end()
        if not due:
            self._reload_due.unlink(missing_ok=True)

    def _recover(self) -> None:
        """Roll back an interrupted pass."""
        if self._journal.exists():
            for name in json.loads(self._journal.read_text(encoding="utf-8")):
                self._vhosts.restore(name)
            log.warning("nginx_pass_rolled_back")
        self._end()

    def _log(self, changes: Changes, rejected: Mapping[str, str]) -> None:
        done = _left(changes, rejected)
        written = sum(changes[name] is not None for name in done)
        if done:
            log.info("nginx_updated", written=written, removed=len(done) - written)


def _left(names: Sequence[str] | Changes, rejected: Mapping[str, str]) -> list[str]:
    """Return the names that weren't rejected."""
    return [name for name in names if name not in rejected]
