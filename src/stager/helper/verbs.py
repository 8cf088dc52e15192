"""The registry of verbs. The helper does nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stager.helper.protocol import PROTOCOL, HelperError, refused
from stager.helper.shapes import Fields

Result = Mapping[str, object]


@dataclass(frozen=True)
class Verb:
    """One thing that the helper can do.

    Args:
        name: `[a-z-]+`.
        shape: of its fields, all of which must be given.
        run: does it, in a thread; gets the fields as the shape read them. It may raise `HelperError`;
            anything else is a bug: it is logged, and the caller gets no more than `bug`.
        lane: verbs of one lane run one at a time, in the order in which they came; lanes don't wait for each
            other.
        timeout: seconds until the caller is told that it takes too long. The verb runs on to its end, and its
            lane stays taken until then; so `run` bounds its own subprocesses.
    """

    name: str
    shape: Fields
    run: Callable[[Mapping[str, Any]], Result]
    lane: str
    timeout: float = 10.0


class Feature:
    """A group of verbs, with what they share. One module each."""

    name = ""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Feature:
        """Made as the command line has it."""
        del arguments
        return cls()

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare what root decides on the command line."""

    def unavailable(self) -> str:
        """Why it can't work on this machine, as a sentence; empty if it can."""
        return ""

    def verbs(self) -> Iterable[Verb]:
        """What callers may ask."""
        return ()

    def meet(self, others: Sequence[Feature]) -> None:
        """Called once, before any is started, with all features."""

    def start(self) -> None:
        """Called once, before the socket opens."""

    def tick(self) -> None:
        """Called in the lane that has the feature's name, some seconds after the last time."""

    def stop(self) -> None:
        """Called once, after the socket closed."""


class Registry:
    """All verbs of these features, and `hello`."""

    def __init__(self, version: str, features: Iterable[Feature]) -> None:
        self._version = version
        self.features = tuple(features)
        for feature in self.features:
            feature.meet(self.features)
        hello = Verb("hello", Fields({}), self._hello, lane="hello")
        self._verbs = {verb.name: verb for verb in [hello, *_all(self.features)]}

    def find(self, name: str) -> Verb:
        """The verb of this name. Raises `HelperError` if there is none."""
        try:
            return self._verbs[name]
        except KeyError:
            raise refused(
                f"There is no such verb; there are {', '.join(sorted(self._verbs))}.",
                "unknown-verb",
                "Are Stager and its helper of the same version?",
            ) from None

    def _hello(self, fields: Mapping[str, Any]) -> Result:
        """The version, and for each feature why it isn't available (empty if it is)."""
        del fields
        features = {feature.name: feature.unavailable() for feature in self.features}
        return {"version": self._version, "protocol": PROTOCOL, "features": features}


def failed(message: str, reason: str, hint: str = "") -> HelperError:
    """Something on this machine doesn't work now."""
    return HelperError(message, kind="retry", reason=reason, hint=hint)


def _all(features: Iterable[Feature]) -> Iterable[Verb]:
    for feature in features:
        yield from feature.verbs()
