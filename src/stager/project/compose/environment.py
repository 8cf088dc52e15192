"""The variables that a Compose file may use: given ones, and those of the repository's own files."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from stager.domain.service import generated
from stager.project.compose.env_files import propose, read_env_file
from stager.project.compose.findings import Findings
from stager.project.compose.interpolation import Interpolation
from stager.project.compose.result import Place, Proposal
from stager.project.compose.value import Refused
from stager.project.tree import Tree
from stager.project.variables import Variable

ENV_FILE = ".env"


class Environment:
    """Looks up variables: given ones, then those of the folder's `.env`, or of its sample.

    Args:
        folder: the folder of the Compose file.
        given: they take precedence.
        files: environment files instead of `.env`.
    """

    def __init__(
        self,
        tree: Tree,
        folder: str,
        given: Mapping[str, str],
        findings: Findings,
        files: tuple[str, ...] = (),
    ) -> None:
        self._tree = tree
        self._folder = folder
        self._given = given
        self._findings = findings
        self._files = files
        self._read: Mapping[str, str] | None = None
        self._proposal: Proposal | None = None
        self._used: dict[str, None] = {}
        self.interpolation = Interpolation(self.lookup, self._unset)

    def below(self, folder: str, files: tuple[str, ...]) -> Environment:
        """Return the environment of an included file."""
        given = {**self._variables(), **self._given} if self._proposal is None else self._given
        return Environment(self._tree, folder, given, self._findings, files)

    def lookup(self, name: str) -> str | None:
        """Return a variable's value; None if it isn't set."""
        if name in self._given:
            return self._given[name]
        value = self._variables().get(name)
        if value is not None and self._proposal is not None:
            self._used[name] = None
        return value

    def report(self) -> None:
        """Record the proposal for a missing `.env`, as far as its variables are used."""
        if self._proposal is not None and self._used:
            secrets = tuple(name for name in self._proposal.generated if name in self._used)
            self._findings.propose(replace(self._proposal, variables=tuple(self._used), generated=secrets))

    def _variables(self) -> Mapping[str, str]:
        if self._read is None:
            self._read = {}  # a file's own variables are looked up while it is read
            self._read = self._findings.attempt({}, self._of_files)
        return self._read

    def _of_files(self) -> Mapping[str, str]:
        own = posixpath.normpath(posixpath.join(self._folder, ENV_FILE))
        found: dict[str, str] = {}
        for path in self._files or (own,):
            if self._tree.has(path):
                found |= read_env_file(self._tree, path, Place(path), self.interpolation)
            elif self._files:
                raise Refused(Place(path), "The file isn't in the repository.")
            else:
                self._proposal, proposed = propose(self._tree, path, Place(path), self.interpolation)
                found |= proposed
        return found

    def _unset(self, name: str, place: Place) -> str:
        if Variable(name, "", "").is_secret:
            self._findings.guess(place, f"{name} isn't set; it gets a generated value.")
            return generated(name)
        self._findings.guess(place, f"{name} isn't set; it is empty.")
        return ""
