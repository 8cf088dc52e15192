"""Tells nginx about previews: a vhost file for each, tested before nginx is made to read it.

nginx can't test a folder that it doesn't read, and one bad file makes it refuse all of them. So each file is
tested alone first, put in place with what was there kept aside, tested with everything else, and taken back
out if nginx says no. A journal in our own folder makes every moment a safe one to be killed in.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.names import RESERVED
from stager.domain.route import RouteTable
from stager.routers.nginx.commands import Nginx, without_place
from stager.routers.nginx.template import VhostTemplate
from stager.routers.nginx.vhosts import Vhost, Vhosts

log = structlog.get_logger(__name__)

_SAFE = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")

Changes = Mapping[str, Vhost | None]
"""File names, each with what is to be there."""


class NginxRouter:
    """See `stager.ports.router.Outpost`.

    Args:
        template: of a vhost file.
        folder: where these go.
        scratch: a folder of our own, for the journal.
        installation: the id by which our files are known.
        nginx: whom to ask and to tell.
    """

    name = "nginx"

    def __init__(
        self, *, template: VhostTemplate, folder: Path, scratch: Path, installation: str, nginx: Nginx
    ) -> None:
        self._template = template
        self._vhosts = Vhosts(folder, installation)
        self._nginx = nginx
        self._scratch = scratch
        self._swapping = scratch / "swapping.json"
        self._reload_due = scratch / "reload-due"
        # One pass at a time, even if whoever asked for it has gone away meanwhile.
        self._turn = threading.Lock()

    async def check(self) -> None:
        """Try the template on a preview that doesn't exist.

        Raises:
            Fault: nginx would refuse every file that it makes.
        """
        text = self._template.render(slug="a-preview", host="stager.invalid", port=9)
        vhost = self._vhosts.marked("a-preview.stager.invalid", 9, text)
        words = await asyncio.to_thread(self._nginx.refuses_alone, {"a-preview": vhost.text})
        if words:
            raise Fault(
                f"nginx.template_path: nginx refuses what {self._template.name} makes:"
                f" {without_place(words, 'a-preview')}.",
                reason="nginx-template",
                detail=words,
            )

    async def apply(self, table: RouteTable) -> Mapping[str, str]:
        """See `Outpost.apply`."""
        return await asyncio.to_thread(self._apply, table)

    def _apply(self, table: RouteTable) -> dict[str, str]:
        with self._turn:
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._recover()
            wanted, problems = self._rendered(table)
            present = self._vhosts.ours()
            doors = table.ingress_ports()

            def misleads(name: str) -> bool:
                return name in present and doors.get(present[name].host) != present[name].port

            changes: dict[str, Vhost | None] = {n: v for n, v in wanted.items() if present.get(n) != v}
            changes |= dict.fromkeys(filter(misleads, present.keys() - wanted.keys()))
            refused = self._change(changes)
            # What can't be replaced stays, unless it would lead to a door that is another host's by now.
            refused |= self._change(dict.fromkeys(filter(misleads, refused)))
            for name, words in refused.items():
                host = (wanted.get(name) or present[name]).host
                problems[host] = f"nginx refuses its file: {without_place(words, name)}."
            return problems

    def _rendered(self, table: RouteTable) -> tuple[dict[str, Vhost], dict[str, str]]:
        """The files that there should be, by name, and the hosts for which there can't be one."""
        wanted: dict[str, Vhost] = {}
        problems: dict[str, str] = {}
        for host, port in table.ingress_ports().items():
            slug, base, name = names_of(host, table.domain)
            if not _SAFE.fullmatch(host) or name in RESERVED or not base:
                problems[host] = "its name can't be that of a file for nginx."
            elif not self._vhosts.is_free(name):
                problems[host] = "a file of its name is in nginx.target_dir, and isn't Stager's."
            else:
                try:
                    text = self._template.render(slug=slug, host=base, port=port)
                except Fault as error:
                    problems[host] = error.message
                else:
                    wanted[name] = self._vhosts.marked(host, port, text)
        return wanted, problems

    def _change(self, changes: Changes) -> dict[str, str]:
        """Make these changes, or those of them that nginx takes; returns the others with its words."""
        texts = {name: vhost.text for name, vhost in changes.items() if vhost}
        refused = _bisect(list(texts), lambda names: self._nginx.refuses_alone({n: texts[n] for n in names}))
        names = _left(changes, refused)
        due = self._reload_due.exists()
        if not names and not due:
            return refused
        self._reload_due.touch()
        self._begin(names)
        try:
            refused |= self._swap({name: changes[name] for name in names})
            runs = self._nginx.reload() if due or _left(names, refused) else True
        except StagerError:
            self._take_back(names, due=due)
            raise
        self._end()
        self._log(changes, refused)
        if not runs:
            raise Retry(
                "nginx doesn't run.",
                hint="Start it; it then reads the previews' files by itself.",
                reason="nginx-stopped",
            )
        self._reload_due.unlink(missing_ok=True)
        return refused

    def _swap(self, changes: Changes) -> dict[str, str]:
        """Put these files in place; those that nginx refuses come back out, and are returned."""

        def attempt(names: Sequence[str]) -> str:
            for name in names:
                self._vhosts.put(name, changes[name])
            words = self._nginx.refuses()
            if words:
                for name in names:
                    self._vhosts.put_back(name)
                self._blame_others()
            return words

        # Short names first, for what nginx's tables of names have no room for is a long one.
        return _bisect(sorted(changes, key=lambda name: (len(name), name)), attempt)

    def _blame_others(self) -> None:
        """Nothing of this try is in place any more. Raises Fault if nginx still says no."""
        words = self._nginx.refuses()
        if words:
            raise Fault(
                f"nginx refuses its configuration, whatever Stager does: {words}",
                hint="Stager asks with `nginx.test_command` of the configuration, as its own user; that may"
                " need sudo.",
                reason="nginx-refused",
                detail=words,
            )

    # The journal: the names of the files that a pass touches, for as long as they may have to be put back.

    def _begin(self, names: Sequence[str]) -> None:
        draft = self._swapping.with_suffix(".new")
        draft.write_text(json.dumps(list(names)), encoding="utf-8")
        draft.replace(self._swapping)

    def _end(self) -> None:
        # In this order: without the journal, nobody puts back what is no longer kept.
        self._swapping.unlink(missing_ok=True)
        self._vhosts.clear_away()

    def _take_back(self, names: Sequence[str], *, due: bool) -> None:
        for name in names:
            self._vhosts.put_back(name)
        self._end()
        if not due:
            self._reload_due.unlink(missing_ok=True)

    def _recover(self) -> None:
        """Undo what a pass before us left half-done."""
        if self._swapping.exists():
            for name in json.loads(self._swapping.read_text(encoding="utf-8")):
                self._vhosts.put_back(name)
            log.warning("interrupted_pass_undone")
        self._end()

    def _log(self, changes: Changes, refused: Mapping[str, str]) -> None:
        done = _left(changes, refused)
        written = sum(changes[name] is not None for name in done)
        if done:
            log.info("nginx_told", written=written, removed=len(done) - written)


def names_of(host: str, domain: str) -> tuple[str, str, str]:
    """Slug, domain and file name of a host; the file is called by the slug where nobody else can have it."""
    slug = host.removesuffix(f".{domain}")
    if domain and slug != host:
        return slug, domain, slug
    label, _, base = host.partition(".")
    return label, base, host


def _left(names: Sequence[str] | Changes, refused: Mapping[str, str]) -> list[str]:
    """Those that weren't refused."""
    return [name for name in names if name not in refused]


def _bisect(names: Sequence[str], refuses: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """Which of these are refused, each with why.

    Args:
        refuses: says why it refuses several at once, or nothing when it takes them all.
    """
    words = refuses(names) if names else ""
    if not words:
        return {}
    if len(names) == 1:
        return {names[0]: words}
    half = len(names) // 2
    return _bisect(names[:half], refuses) | _bisect(names[half:], refuses)
