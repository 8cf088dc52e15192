"""nginx's commands: test one configuration file or all of them, and reload. Its error messages are passed on
unchanged."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from stager.domain.errors import Fault, Retry
from stager.routers import programs

_ERROR = re.compile(r"\[(emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)")
_PLACE = re.compile(r" in (\S+):(\d+)$")
_NOT_RUNNING = re.compile(
    r"invalid PID number|\.pid\" failed \(2:|\(3: No such process\)|is not (?:active|running)", re.IGNORECASE
)
_CONTEXT_ERRORS = re.compile(
    r"Permission denied|unknown log format|unknown \"[^\"]*\" variable|zero size shared memory zone"
)
"""Errors that are caused by testing a file alone, or as another user, and not by the file."""

_ISOLATED = """\
pid "{scratch}/isolated.pid";
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
    include "{scratch}/isolated/*";
}}
"""


Http2 = Literal["listen", "directive", "none"]
"""How HTTP/2 is enabled: with a parameter of `listen`, with `http2 on`, or not at all."""


def http2_syntax() -> Http2:
    """Return how the installed nginx enables HTTP/2; `listen`, which all versions support, if there is
    none."""
    try:
        return http2_syntax_of(_run(["nginx", "-V"]).stderr)
    except (Fault, Retry):
        return "listen"


def http2_syntax_of(output: str) -> Http2:
    """Return the same from the output of `nginx -V`. `http2` is a directive since version 1.25.1
    (https://nginx.org/en/docs/http/ngx_http_v2_module.html)."""
    version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", output)
    if version is None:
        return "listen"
    if "configure arguments:" in output and "--with-http_v2_module" not in output:
        return "none"
    return "directive" if tuple(map(int, version.groups())) >= (1, 25, 1) else "listen"


class Nginx:
    """An nginx.

    Args:
        scratch: a folder for files that are tested alone.
        test_command: tests all its configuration files; empty to skip the test.
        reload_command: reloads its configuration; empty to skip the reload.
    """

    def __init__(self, scratch: Path, test_command: Sequence[str], reload_command: Sequence[str]) -> None:
        self._scratch = scratch
        self._test_command = test_command
        self._reload_command = reload_command

    def test_isolated(self, texts: Mapping[str, str]) -> str:
        """Test these files, by name, without the other ones. Returns nginx's error; empty if there is none,
        or if nginx isn't installed here."""
        folder, main = self._scratch / "isolated", self._scratch / "isolated.conf"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        main.write_text(_ISOLATED.format(scratch=self._scratch), encoding="utf-8")
        try:
            done = _run(["nginx", "-t", "-q", "-p", str(self._scratch), "-c", str(main)])
        except Fault:
            return ""
        error_text = _error_of(done)
        return "" if done.returncode == 0 or _CONTEXT_ERRORS.search(error_text) else error_text

    def test(self) -> str:
        """Test all its configuration files. Returns nginx's error; empty if there is none.

        Raises:
            Fault: the command can't be run.
            Retry: the command timed out.
        """
        done = _run(self._test_command) if self._test_command else None
        return _error_of(done) if done and done.returncode else ""

    def reload(self) -> bool:
        """Reload the configuration.

        Returns:
            Whether nginx is running. If it isn't, it reads the files when it starts.

        Raises:
            Fault: the command failed, or can't be run.
            Retry: the command timed out.
        """
        done = _run(self._reload_command) if self._reload_command else None
        if not done or not done.returncode:
            return True
        error_text = _error_of(done)
        if _NOT_RUNNING.search(error_text):
            return False
        raise Fault(
            f"Reloading nginx failed: {error_text}",
            hint="Stager runs `nginx.reload_command` of the configuration, as its own user.",
            reason="nginx-reload",
            detail=error_text,
        )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return programs.run(command)
    except OSError as error:
        raise Fault(
            f"`{command[0]}` can't be run: {error.strerror}.",
            hint="Install nginx (on Debian and Ubuntu: apt-get install nginx), or set `nginx.test_command`"
            " and `nginx.reload_command`.",
            reason="nginx-missing",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Retry(
            f"`{command[0]}` didn't finish within {programs.TIMEOUT:g} s.", reason="nginx-silent"
        ) from error


def _error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return nginx's first error; the last line of output if there is none in nginx's format."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    errors = [match.groups() for line in lines if (match := _ERROR.search(line))]
    worst = [message for level, message in errors if level == "emerg"] or [message for _, message in errors]
    return (worst or lines[-1:] or [f"exit code {done.returncode}"])[0]


def without_place(error_text: str, name: str) -> str:
    """Return nginx's error about a vhost file with the line of its rendered template, and without the
    preview's name."""
    text = error_text.replace(f'"{name}"', "its name")
    place = _PLACE.search(text)
    if place is None or Path(place[1]).name != name:
        return text
    # The first line of the file is Stager's mark.
    return f"{text[: place.start()]}, in line {int(place[2]) - 1} of the rendered template"
