"""The hook that git runs after a push, and how it gets into a repository."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from stager.forges.local import pushed

_MARK = "# Written by Stager."
_OWN = "post-receive.own"

_SCRIPT = """\
#!/bin/sh
{mark} It tells Stager of each push; whatever becomes of that, the push stands.
# What was here before is {own}, and runs first.
refs=$(cat)
hooks=${{0%/*}}
if [ -x "$hooks/{own}" ]; then printf '%s\\n' "$refs" | "$hooks/{own}"; fi
if [ -x {python} ] && [ -f {program} ]; then
  printf '%s\\n' "$refs" | {python} -I -S {program}
else
  echo "stager: Stager isn't any more where it was; run 'stager forge init' for this repository again."
fi
exit 0
"""
"""Python is run without the packages that are installed for it (`-S`) and without a say of whoever pushes
(`-I`), which costs time, https://docs.python.org/3/using/cmdline.html."""


def install(repository: Path) -> None:
    """Have the hook in a repository. Another one that is there is kept, and runs before ours."""
    hook = repository / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    if hook.exists() and _MARK not in hook.read_text(errors="replace"):
        hook.rename(hook.with_name(_OWN))
    script = _SCRIPT.format(
        mark=_MARK, own=_OWN, python=shlex.quote(sys.executable), program=shlex.quote(pushed.__file__)
    )
    draft = hook.with_name("post-receive.new")
    draft.write_text(script)
    draft.chmod(0o755)
    draft.rename(hook)
