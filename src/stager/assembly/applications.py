"""The entries under `images:`, as control needs them."""

from __future__ import annotations

from dataclasses import replace

from stager.control.applications import Application, Applications
from stager.forges.local.deliveries import FORGE as LOCAL
from stager.settings.model import Settings
from stager.settings.sections.images import App


def applications_of(settings: Settings) -> Applications:
    """The entries under `images:` as control needs them."""
    shares = settings.forks.unsafe_shared_builder
    applications = {
        name: replace(_application(name, app), shares_builder=shares) for name, app in settings.images.items()
    }
    local = {name: replace(applications[name], owner=LOCAL) for name in settings.local_forge}
    return Applications(applications | local)


def _application(name: str, app: App) -> Application:
    return Application(
        name=name,
        image=app.image,
        port=app.port,
        limits=app.limits,
        command=app.command,
        owner=app.repo_owner,
        repository=app.repo.partition("/")[2],
        variables={name: value.reveal() for name, value in app.env.items() if not value.kept_elsewhere},
        secrets={
            **{name: value.reveal() for name, value in app.env.items() if value.kept_elsewhere},
            **{name: value.reveal() for name, value in app.secrets.items()},
        },
        health_path=app.health_path,
        start_timeout=app.start_timeout,
        answer_timeout=app.answer_timeout,
        drain_timeout=app.drain_timeout,
        stop_grace=app.stop_grace,
        parameters=app.parameters,
        build=app.build.recipe if app.build else None,
        build_timeout=app.build.timeout if app.build else 0.0,
        image_timeout=app.image_timeout,
        hooks=app.hooks.hooks,
        repository_file=app.repository_file,
        repository_may=frozenset(app.repository_may),
        forks=app.forks,
        rules=app.pull_requests.rules,
        privacy=app.private.privacy if app.private else None,
        index=app.index,
    )
