"""The hook that git runs after a push, and how it gets into a repository."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_MARK = "# Written by Stager."
_OWN = "post-receive.own"

_SCRIPT = """\
#!/bin/sh
{mark} It tells Stager of each push; whatever becomes of that, the push stands.
# What was here before is {own}, and runs first.
refs=$(cat)
hooks=${{0%/*}}
if [ -x "$hooks/{own}" ]; then printf '%s\\n' "$refs" | "$hooks/{own}"; fi
if [ -x {python} ]; then
  printf '%s\\n' "$refs" | {python} -P -m stager.forges.local.pushed
else
  echo "stager: {python} isn't here any more; run 'stager forge init' for this repository again."
fi
exit 0
"""


def install(repository: Path) -> None:
    """Have the hook in a repository. Another one that is there is kept, and runs before ours."""
    hook = repository / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    if hook.exists() and _MARK not in hook.read_text(errors="replace"):
        hook.rename(hook.with_name(_OWN))
    script = _SCRIPT.format(mark=_MARK, own=_OWN, python=shlex.quote(sys.executable))
    draft = hook.with_name("post-receive.new")
    draft.write_text(script)
    draft.chmod(0o755)
    draft.rename(hook)
