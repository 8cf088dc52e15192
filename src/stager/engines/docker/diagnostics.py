"""Checks Docker: whether it answers, is new enough and can build images."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from stager.domain.errors import StagerError
from stager.engines.docker.build.builder import HONOURS_CGROUPS
from stager.engines.docker.build.untrusted import SETUP_DOCS
from stager.engines.docker.client import connect, engine_errors
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Finding, Verdict

OLDEST = 20
"""The oldest release of Docker that Stager is tested with, 20.10."""
INSTALL_BUILDX = (
    "Install it: `apt-get install docker-buildx`, or docker-buildx-plugin from Docker's packages."
)


class DockerCheck:
    """Checks that Docker answers and is new enough.

    Args:
        address: the address of the engine.
    """

    subject = "Docker"

    def __init__(self, address: str) -> None:
        self._address = address

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`. Raises `Retry` when it doesn't answer."""
        version = await version_of(self._address)
        message = f"Docker {version} answers at {self._address}."
        if number_of(version) < OLDEST:
            return [Finding(self.subject, Verdict.ERROR, message, "Stager needs 20.10 or later.")]
        return [Finding(self.subject, Verdict.OK, message)]


class BuildCheck:
    """Checks that images can be built and that builds are limited.

    Args:
        cgroup_parent: the cgroup for builds; empty for none.
    """

    subject = "builds"

    def __init__(self, address: str, cgroup_parent: str) -> None:
        self._address = address
        self._cgroup_parent = cgroup_parent

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        return [await self._buildx(), await self._limits()]

    async def _buildx(self) -> Finding:
        try:
            process = await asyncio.create_subprocess_exec(
                "docker",
                "buildx",
                "version",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return Finding(
                self.subject, Verdict.ERROR, "The command `docker` isn't installed.", INSTALL_BUILDX
            )
        output, _ = await process.communicate()
        if process.returncode:
            return Finding(self.subject, Verdict.ERROR, "`docker buildx` isn't installed.", INSTALL_BUILDX)
        return Finding(
            self.subject, Verdict.OK, f"buildx is installed: {output.decode('utf-8', 'replace').strip()}."
        )

    async def _limits(self) -> Finding:
        if not self._cgroup_parent:
            hint = "Set `builds.cgroup_parent` to a cgroup that limits them."
            return Finding(
                self.subject, Verdict.WARNING, "Builds may use all CPU and memory of the machine.", hint
            )
        version = await version_of(self._address)
        if number_of(version) < HONOURS_CGROUPS:
            hint = f"Docker {HONOURS_CGROUPS} and later apply it."
            message = f"Docker {version} ignores `builds.cgroup_parent`."
            return Finding(self.subject, Verdict.WARNING, message, hint)
        return Finding(self.subject, Verdict.OK, f"Builds run under {self._cgroup_parent}.")


class UntrustedBuildCheck:
    """Checks whether and where code from forks can be built.

    Args:
        helper: starts the builder for untrusted code; None if it isn't used.
        is_shared: whether untrusted code is built by the builder of trusted code.
    """

    subject = "builds of forks"

    def __init__(self, helper: HelperClient | None, *, is_shared: bool) -> None:
        self._helper = helper
        self._is_shared = is_shared

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        if self._is_shared:
            hint = (
                "Set `forks.unsafe_shared_builder` to false, and let `stager-helper` build code from forks."
            )
            message = "Code from forks is built together with trusted code, and can change its builds."
            return [Finding(self.subject, Verdict.WARNING, message, hint)]
        try:
            why = await self._why_not()
        except StagerError as error:
            why = f"{error.message} {error.hint}"
        if why:
            hint = f"`stager-helper` provides the builder; {SETUP_DOCS}."
            message = f"Code from forks can't be built: {why}"
            return [Finding(self.subject, Verdict.WARNING, message, hint)]
        return [Finding(self.subject, Verdict.OK, "Code from forks is built by a separate builder.")]

    async def _why_not(self) -> str:
        if self._helper is None:
            return "`helper: off` in the configuration."
        if not self._helper.socket.exists():
            return f"there is no root helper at {self._helper.socket}."
        features = (await self._helper.call("hello")).get("features") or {}
        return str(features.get("builder", "the root helper is too old."))


async def version_of(address: str) -> str:
    """Docker's version. Raises `Retry` when it doesn't answer."""
    docker = connect(address)
    try:
        with engine_errors():
            return str((await docker.version())["Version"])
    finally:
        await docker.close()


def number_of(version: str) -> int:
    """The major version; 0 if it can't be read."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0
