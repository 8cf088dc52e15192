"""Takes the pictures of one deployment, and compares them with those of the base branch's preview."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stager.control.ports import Ports
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Instance, InstanceState
from stager.domain.pictures import PictureSpec, View
from stager.ports.pictures import Album, Picture, PicturePorts, Shot
from stager.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class Sitting:
    """A deployment that visitors see and that has no pictures yet.

    Args:
        instance: that of its main service, which runs.
    """

    environment: Environment
    deployment: Deployment
    instance: Instance


@dataclass(frozen=True, slots=True)
class Result:
    """An album with the content of its pictures, by their keys, and the small copy of its cover."""

    album: Album
    pictures: Mapping[str, bytes]
    thumbnail: bytes


class Studio:
    """Takes and compares pictures."""

    def __init__(self, ports: Ports, pictures: PicturePorts) -> None:
        self._store, self._instances, self._clock = ports.store, ports.instances, ports.clock
        self._photographer, self._albums = pictures.photographer, pictures.albums
        self._configured = pictures.options.spec

    async def sitting(self, environment: Environment, deployment: Deployment) -> Sitting | None:
        """The sitting of this deployment; None while its main service doesn't run. Raises `Retry`."""
        for instance in await self._instances.find(environment.id):
            is_up = instance.state is InstanceState.RUNNING and environment.serving is not None
            of_it = instance.deployment == deployment.id or environment.serving in instance.generations
            if is_up and of_it and deployment.is_main(instance.service):
                return Sitting(environment, deployment, instance)
        return None

    async def take(self, sitting: Sitting) -> Result:
        """Take the pictures. Raises what `Photographer.take` does, and `OSError`, `ValueError` or
        `SyntaxError` for a picture that can't be read."""
        environment, spec = sitting.environment, sitting.deployment.manifest.pictures
        views = spec.views(self._configured)
        shots = await self._photographer.take(sitting.instance.id, environment.host, views)
        base = await self._store.read(lambda tx: _base_of(tx, environment))
        before = await self._pictures_of(base) if base else {}
        pictures = tuple([await self._compared(shot, before.get(shot.view, b""), spec) for shot in shots])
        is_compared = base is not None and any(each.before for each in pictures)
        album = Album(
            sitting.deployment.id,
            self._clock.now(),
            pictures,
            compared_with=base.name if base and is_compared else "",
        )
        return await self._result(album, shots, before.values())

    async def _result(self, album: Album, shots: Sequence[Shot], before: Iterable[bytes]) -> Result:
        found = {_key(png): png for png in (*before, *(shot.png for shot in shots)) if png}
        thumbnail = await self._photographer.thumbnail(found[album.cover]) if album.cover else b""
        return Result(album, {key: found[key] for key in album.keys}, thumbnail)

    async def _compared(self, shot: Shot, before: bytes, spec: PictureSpec) -> Picture:
        picture = Picture(
            shot.view, _key(shot.png) if shot.png else "", shot.status, shot.problems, shot.failed
        )
        if not before or not shot.png:
            return picture
        changed = await self._photographer.compare(before, shot.png, spec.ignored_of(shot.view))
        return replace(picture, changed=changed, before=_key(before))

    async def _pictures_of(self, environment: Environment) -> dict[View, bytes]:
        """The pictures of a preview by what they show."""
        album = await self._albums.load(environment.id)
        found: dict[View, bytes] = {}
        for each in album.pictures if album else ():
            if each.key and (png := await self._albums.picture(environment.id, each.key)):
                found[each.view] = png
        return found


def _key(png: bytes) -> str:
    return hashlib.sha256(png).hexdigest()


def _base_of(tx: Transaction, environment: Environment) -> Environment | None:
    """The preview of the branch that the pull request would be merged into, if there is one."""
    if environment.change is None:
        return None
    wanted = environment.change.base_ref
    for each in tx.environments(present=True):
        if each.app == environment.app and each.change is None and each.name == wanted:
            return each
    return None
