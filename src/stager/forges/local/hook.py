"""The post-receive hook, and its installation in a repository."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from stager.forges.local import push_client

_MARK = "# Written by Stager."
_OWN = "post-receive.own"

_SCRIPT = """\
#!/bin/sh
{mark} Reports each push to Stager. The push succeeds even if that fails.
# A hook that existed before is {own}; it runs first.
refs=$(cat)
hooks=${{0%/*}}
if [ -x "$hooks/{own}" ]; then printf '%s\\n' "$refs" | "$hooks/{own}"; fi
if [ -x {python} ] && [ -f {program} ]; then
  printf '%s\\n' "$refs" | {python} -I -S {program}
else
  echo "stager: Stager was moved or removed; run 'stager forge init' for this repository again."
fi
exit 0
"""
"""Python runs without installed packages (`-S`) and isolated from the pushing user's environment (`-I`),
which also saves time, https://docs.python.org/3/using/cmdline.html."""


def install(repository: Path) -> None:
    """Install the hook in a repository. An existing hook is kept and runs first."""
    hook = repository / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    if hook.exists() and _MARK not in hook.read_text(errors="replace"):
        hook.rename(hook.with_name(_OWN))
    script = _SCRIPT.format(
        mark=_MARK, own=_OWN, python=shlex.quote(sys.executable), program=shlex.quote(push_client.__file__)
    )
    draft = hook.with_name("post-receive.new")
    draft.write_text(script)
    draft.chmod(0o755)
    draft.rename(hook)
