"""nginx's own commands: test one file or all of them, and read them again. What it says is passed on in its
own words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from stager.domain.errors import Fault, Retry

TIMEOUT = 60.0
_SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where nginx is, and where users other than root don't look."""

_SAID = re.compile(r"\[(emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)")
_PLACE = re.compile(r" in (\S+):(\d+)$")
_NOT_RUNNING = re.compile(
    r"invalid PID number|\.pid\" failed \(2:|\(3: No such process\)|is not (?:active|running)", re.IGNORECASE
)
_ONLY_THE_WHOLE_KNOWS = re.compile(
    r"Permission denied|unknown log format|unknown \"[^\"]*\" variable|zero size shared memory zone"
)
"""What a file may be told when it is alone, as another user, and what says nothing about it."""

_ALONE = """\
pid "{scratch}/alone.pid";
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {scratch}/temporary;
    proxy_temp_path {scratch}/temporary;
    fastcgi_temp_path {scratch}/temporary;
    uwsgi_temp_path {scratch}/temporary;
    scgi_temp_path {scratch}/temporary;
    server_names_hash_bucket_size 256;
    server_names_hash_max_size 8192;
    include "{scratch}/alone/*";
}}
"""


Http2 = Literal["listen", "directive", "none"]
"""How an nginx is told to speak HTTP/2: by a word of `listen`, by `http2 on`, or not at all."""


def http2_syntax() -> Http2:
    """How the nginx that is installed here is told to speak HTTP/2. If there is none, by `listen`, which all
    versions understand."""
    try:
        return http2_syntax_of(_run(["nginx", "-V"]).stderr)
    except (Fault, Retry):
        return "listen"


def http2_syntax_of(told: str) -> Http2:
    """The same, by what `nginx -V` tells: `http2` is a directive of its own from 1.25.1
    (https://nginx.org/en/docs/http/ngx_http_v2_module.html)."""
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told)
    if version is None:
        return "listen"
    if "configure arguments:" in told and "--with-http_v2_module" not in told:
        return "none"
    return "directive" if tuple(map(int, version.groups())) >= (1, 25, 1) else "listen"


class Nginx:
    """One nginx.

    Args:
        scratch: a folder of ours, for files that are tested alone.
        test_command: has it test its files, all of them; empty: it is never asked.
        reload_command: has it read them again; empty: it is never told.
    """

    def __init__(self, scratch: Path, test_command: Sequence[str], reload_command: Sequence[str]) -> None:
        self._scratch = scratch
        self._test_command = test_command
        self._reload_command = reload_command

    def refuses_alone(self, texts: Mapping[str, str]) -> str:
        """Why these files, by name, can't be right wherever they are; empty when nothing speaks against them,
        or when there is no nginx here to ask."""
        folder, main = self._scratch / "alone", self._scratch / "alone.conf"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        main.write_text(_ALONE.format(scratch=self._scratch), encoding="utf-8")
        try:
            done = _run(["nginx", "-t", "-q", "-p", str(self._scratch), "-c", str(main)])
        except Fault:
            return ""
        words = _words(done)
        return "" if done.returncode == 0 or _ONLY_THE_WHOLE_KNOWS.search(words) else words

    def refuses(self) -> str:
        """Why it would not read its files as they are now; empty when it would.

        Raises:
            Fault: it can't be asked.
            Retry: it doesn't answer.
        """
        done = _run(self._test_command) if self._test_command else None
        return _words(done) if done and done.returncode else ""

    def reload(self) -> bool:
        """Have it read its files again.

        Returns:
            Whether it runs. If it doesn't, it will read them when it starts.

        Raises:
            Fault: it says no, or can't be told.
            Retry: it doesn't answer.
        """
        done = _run(self._reload_command) if self._reload_command else None
        if not done or not done.returncode:
            return True
        words = _words(done)
        if _NOT_RUNNING.search(words):
            return False
        raise Fault(
            f"nginx could not be made to read its files again: {words}",
            hint="`nginx.reload_command` in the configuration is what Stager runs for that, as its own user.",
            reason="nginx-reload",
            detail=words,
        )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_PROGRAMS])
    try:
        return subprocess.run(  # noqa: S603 (the administrator's own words)
            list(command),
            stdin=subprocess.DEVNULL,
            umask=0o022,  # what nginx makes, such as a log, is as it would be without us
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
        )
    except OSError as error:
        raise Fault(
            f"There is no `{command[0]}` here that could be run: {error.strerror}.",
            hint="Install nginx (on Debian and Ubuntu: apt-get install nginx), or say in `nginx.test_command`"
            " and `nginx.reload_command` how it is called.",
            reason="nginx-missing",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Retry(f"`{command[0]}` didn't end within {TIMEOUT:g} s.", reason="nginx-silent") from error


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """What it minded first; of a command that doesn't speak as nginx does, its last line."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    said = [match.groups() for line in lines if (match := _SAID.search(line))]
    worst = [words for level, words in said if level == "emerg"] or [words for _, words in said]
    return (worst or lines[-1:] or [f"it ended with exit code {done.returncode}"])[0]


def without_place(words: str, name: str) -> str:
    """nginx's words on a vhost file as one would say them of its template, and naming no preview."""
    said = words.replace(f'"{name}"', "its name")
    place = _PLACE.search(said)
    if place is None or Path(place[1]).name != name:
        return said
    # The first line of the file is our mark.
    return f"{said[: place.start()]}, in line {int(place[2]) - 1} of what the template makes"
