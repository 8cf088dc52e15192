"""The registry of verbs: the complete list of what the helper can do."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stager.helper.protocol import PROTOCOL, HelperError, refused
from stager.helper.shapes import Fields

Result = Mapping[str, object]


@dataclass(frozen=True)
class Verb:
    """One operation of the helper.

    Args:
        name: `[a-z-]+`.
        shape: the shape of its fields, all of which are required.
        run: performs the operation, in a thread, with the validated fields. It may raise `HelperError`; any
            other exception is logged, and the caller receives the reason `bug`.
        queue: verbs of one queue run one at a time, in order of arrival; queues are independent.
        timeout: seconds until the caller receives an error. The verb continues nevertheless and blocks its
            queue, so `run` limits the time of its own subprocesses.
    """

    name: str
    shape: Fields
    run: Callable[[Mapping[str, Any]], Result]
    queue: str
    timeout: float = 10.0


class Feature:
    """A group of verbs with common state."""

    name = ""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Feature:
        """Create the feature from the command line."""
        del arguments
        return cls()

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the feature's command-line options."""

    def unavailable(self) -> str:
        """Return a sentence on why the feature doesn't work on this machine; empty if it does."""
        return ""

    def verbs(self) -> Iterable[Verb]:
        """Return the feature's verbs."""
        return ()

    def attach(self, others: Sequence[Feature]) -> None:
        """Called once with all features, before any of them is started."""

    def start(self) -> None:
        """Called once, before the socket opens."""

    def tick(self) -> None:
        """Called periodically, in the queue with the feature's name."""

    def stop(self) -> None:
        """Called once, after the socket closed."""


class Registry:
    """The verbs of these features, and `hello`."""

    def __init__(self, version: str, features: Iterable[Feature]) -> None:
        self._version = version
        self.features = tuple(features)
        for feature in self.features:
            feature.attach(self.features)
        hello = Verb("hello", Fields({}), self._hello, queue="hello")
        self._verbs = {verb.name: verb for verb in [hello, *_all(self.features)]}

    def find(self, name: str) -> Verb:
        """Return the verb of this name. Raises `HelperError` if there is none."""
        try:
            return self._verbs[name]
        except KeyError:
            raise refused(
                f"Unknown verb; known are {', '.join(sorted(self._verbs))}.",
                "unknown-verb",
                "Stager and its helper must have the same version.",
            ) from None

    def _hello(self, fields: Mapping[str, Any]) -> Result:
        """Return the version, and for each feature why it isn't available (empty if it is)."""
        del fields
        features = {feature.name: feature.unavailable() for feature in self.features}
        return {"version": self._version, "protocol": PROTOCOL, "features": features}


def absolute(text: str) -> Path:
    """Parse an absolute path. Raises argparse.ArgumentTypeError."""
    path = Path(os.path.normpath(text))
    if not path.is_absolute():
        raise argparse.ArgumentTypeError(f"{text!r} isn't an absolute path")
    return path


def failed(message: str, reason: str, hint: str = "") -> HelperError:
    """Make the error for a temporary problem of this machine."""
    return HelperError(message, kind="retry", reason=reason, hint=hint)


def _all(features: Iterable[Feature]) -> Iterable[Verb]:
    for feature in features:
        yield from feature.verbs()
