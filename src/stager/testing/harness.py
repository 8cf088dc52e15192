"""A whole Stager over fakes, for a plugin's own test: nothing to start, nothing to wait for.

def test_it_says_hello(capsys):
    with Harness(SayHello, handlers={"SayHello": {"greeting": "Ahoy"}}) as stager:
        preview = stager.launch("my-branch")
    assert f"Ahoy, {preview.url}" in capsys.readouterr().out
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from stager.control.plugins.invoker import HANDLER_SECONDS
from stager.control.plugins.lifecycle import notes_of
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.identity.actor import Actor
from stager.domain.pull_requests.events import ChangeEvent
from stager.ports.handlers import (
    Credentials,
    Handler,
    Preview,
)
from stager.ports.plugins import Plugin, PluginRegistry
from stager.settings.loading.loader import Loaded, load
from stager.settings.plugins.available import Known, built_in
from stager.testing.fake_stager import APP, FakeStager

LISTENERS = ["LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed"]

T = TypeVar("T")


class Harness:
    """A Stager with one application, `shop`, and these handlers enabled.

    Args:
        handlers_on: the classes under test, which the configuration enables.
        seconds: timeout of one call of a handler.
        configuration: further keys of `config.yml`, such as `handlers` or `max_previews`.

    Raises:
        ConfigurationError: the configuration is invalid, as at Stager's own start.
    """

    def __init__(
        self, *handlers_on: type[Handler], seconds: float = HANDLER_SECONDS, **configuration: object
    ) -> None:
        self._loaded = _loaded(handlers_on, configuration)
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._pulls: dict[str, ChangeEvent] = {}
        self._stager: FakeStager | None = None

    def __enter__(self) -> Self:
        self._stager = self._do(FakeStager.start(self._loaded, self._seconds))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._running.stop())
        self._loop.close()

    def launch(self, name: str = "my-branch", **parameters: str) -> Preview:
        """Launch a preview, and wait until it serves and post-launch handlers have been called.

        Raises:
            StagerError: the launch was refused or has failed.
        """
        return self._do(self._running.launch(Launch(APP, name, parameters)))

    def kill(self, name: str = "my-branch") -> None:
        """Kill a preview, and wait until it is removed."""
        self._do(self._running.kill(Kill(APP, name)))

    def open_pull_request(self, branch: str = "my-branch") -> Preview | None:
        """Open a pull request. Returns its preview once that serves; None if no listener launches one."""
        forge, repository = self._running.forge, self._running.repository
        self._pulls[branch] = forge.open(repository, branch, f"{len(self._pulls) + 1:040x}")
        return self._do(self._running.deliver(self._pulls[branch]))

    def push(self, branch: str = "my-branch") -> Preview | None:
        """Push a commit to a pull request. Returns its updated preview."""
        event = self._pulls[branch]
        self._pulls[branch] = self._running.forge.push(event, f"{int(event.change.head_sha, 16) + 4096:040x}")
        return self._do(self._running.deliver(self._pulls[branch]))

    def close_pull_request(self, branch: str = "my-branch") -> None:
        """Close a pull request, and wait until its preview is removed if a listener removes it."""
        self._do(self._running.deliver(self._running.forge.close(self._pulls[branch])))

    def call(self, action: str, *, authenticated: bool = True, **parameters: str) -> Reply | Preview | None:
        """Send a request to `/event_receiver`. Returns a listener's reply, or the preview that it launched.

        Args:
            authenticated: whether the sender has valid credentials.

        Raises:
            Refused: 401, a listener requires authentication and there is none.
        """
        return self._do(self._running.call(action, parameters, authenticated=authenticated))

    def authenticate(self, authorization: str = "", **parameters: str) -> Actor:
        """The actor with these credentials. Raises `Refused` (401) if no strategy accepts them."""
        return self._do(self._running.authenticator.authenticate(Credentials(authorization, parameters)))

    @property
    def running(self) -> list[Preview]:
        """The previews that serve now, oldest first."""
        return self._do(self._running.previews.running())

    def variables(self, preview: Preview) -> Mapping[str, str]:
        """The environment variables of the preview's newest instance."""
        instances = self._running.engine.there(preview.id)
        return self._running.engine.spec(max(instances, key=lambda i: i.generation).id).variables

    def notes(self, preview: Preview) -> tuple[str, ...]:
        """Failures of handlers, as the API shows them."""
        return self._do(self._running.store.read(lambda tx: notes_of(tx, preview.id, preview.generation)))

    @property
    def _running(self) -> FakeStager:
        if self._stager is None:
            raise RuntimeError("The harness is used as `with Harness(...) as stager:`.")
        return self._stager

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)


def _loaded(classes: tuple[type[Handler], ...], configuration: Mapping[str, object]) -> Loaded:
    """The configuration, loaded as at Stager's own start."""
    ours = {plugin.cls for plugin in built_in()}
    plugins = PluginRegistry([*built_in(), *(Plugin(cls, "a test") for cls in classes if cls not in ours)])
    named: dict[str, list[str]] = {}
    for plugin in plugins:
        if plugin.cls in classes:
            for kind in plugin.kinds:
                named.setdefault(kind, []).append(plugin.name)
    named["event_listeners"] = [*named.get("event_listeners", []), *LISTENERS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yml"
        path.write_text(yaml.safe_dump({"state_dir": "/tmp/harness", **named, **configuration}))  # noqa: S108 (never made)
        return load(path, environ={}, known=Known(plugins))
