"""Takes pictures of a preview by Chromium, in a container that shares the network of the preview's instance:
it reaches what the instance reaches, under the same firewall rules, and its pages can't reach more."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import aiodocker

from stager.domain.errors import Fault, Retry
from stager.domain.pictures import Box, View
from stager.engines.docker import labels
from stager.engines.docker.client import engine_errors, list_containers, remove_container
from stager.engines.docker.pictures.comparison import changed_share, is_usable, thumbnail_of
from stager.engines.docker.seccomp import browser_profile
from stager.ports.pictures import Shot

MEMORY = 512 << 20
"""Bytes. A page that needs more gets no picture."""
SPACE = 128 << 20
"""Bytes of the browser's temporary files, which count as memory."""
PROCESSES = 256
SECONDS, PAGE_SECONDS, EXTRA_SECONDS = 60.0, 20.0, 10.0
"""For all pictures, for one, and for the container's start and end."""
MAX_OUTPUT = 32 << 20
"""Bytes of all results."""
HEIGHT = 900
OTHER_USER = "65534:65534"
DEFAULT_RUNTIME = "runc"
CAMERA = "stager.camera"
"""The label of a browser's container."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What is photographed.

    Args:
        address: where the instance listens, as seen from its own network namespace.
        network: that of the preview.
        runtime: the instance's OCI runtime, which the browser gets as well: the configuration may set one
            with a stronger isolation.
    """

    instance: str
    address: str
    network: str
    runtime: str

    @property
    def network_mode(self) -> str:
        """The instance's own network namespace. A runtime with a network stack of its own can't share it and
        joins the preview's network, which has the same firewall rules."""
        is_shared = self.runtime in ("", DEFAULT_RUNTIME) or not self.network
        return f"container:{self.instance}" if is_shared else self.network


class DockerPhotographer:
    """See `ports.pictures.Photographer`.

    Args:
        installation: the id of the installation.
        image: an image that has `chromium` and `python3`.
    """

    def __init__(self, docker: aiodocker.Docker, installation: str, image: str) -> None:
        self._docker, self._installation, self._image = docker, installation, image

    async def compare(self, before: bytes, after: bytes, ignored: Sequence[Box] = ()) -> float:
        """See `ports.pictures.Photographer.compare`."""
        return await asyncio.to_thread(changed_share, before, after, ignored)

    async def thumbnail(self, png: bytes) -> bytes:
        """See `ports.pictures.Photographer.thumbnail`."""
        return await asyncio.to_thread(thumbnail_of, png)

    async def take(self, instance: str, host: str, views: Sequence[View]) -> list[Shot]:
        """See `ports.pictures.Photographer.take`."""
        await self._remove_left()
        name, target = f"stager-{self._installation}-camera", await self._target(instance)
        container = await self._create(name, self._body(target, _order(target, host, views)))
        try:
            output = await self._output(container)
            shots = await asyncio.to_thread(_shots, output, views)
            if not any(shot.png for shot in shots):
                await self._explain(container)
            return shots
        finally:
            await asyncio.shield(remove_container(self._docker, name))

    async def _remove_left(self) -> None:
        """Remove what an interrupted call left behind."""
        wanted = {"label": [f"{labels.INSTALLATION}={self._installation}", CAMERA]}
        for row in await list_containers(self._docker, json.dumps(wanted)):
            await remove_container(self._docker, row["Id"])

    async def _target(self, instance: str) -> _Target:
        with engine_errors():
            try:
                found = await self._docker.containers.container(instance).show()
            except aiodocker.DockerError as error:
                raise Retry("The preview isn't running any more.", reason="instance-gone") from error
        named = found["Config"]["Labels"]
        runtime = str(found["HostConfig"].get("Runtime") or "")
        address = f"{named[labels.ADDRESS]}:{named[labels.PORT]}"
        return _Target(instance, address, named.get(labels.NETWORK, ""), runtime)

    def _body(self, target: _Target, order: str) -> dict[str, Any]:
        script = files("stager.engines.docker.pictures").joinpath("camera.py").read_text()
        return {
            "Image": self._image,
            "Entrypoint": ["python3", "-c", script],
            "Cmd": [],
            "User": OTHER_USER,
            "WorkingDir": "/tmp",  # noqa: S108 (of the container)
            "Env": [f"ORDER={order}", "HOME=/tmp", "LANG=C.UTF-8"],
            "Labels": {labels.INSTALLATION: self._installation, CAMERA: target.instance},
            "AttachStdout": True,
            "HostConfig": {
                "Init": True,
                "NetworkMode": target.network_mode,
                "Runtime": target.runtime,
                "Memory": MEMORY,
                "MemorySwap": MEMORY,
                "PidsLimit": PROCESSES,
                "NanoCpus": 1_000_000_000,
                "ReadonlyRootfs": True,
                "Tmpfs": {"/tmp": f"rw,nosuid,nodev,size={SPACE}"},  # noqa: S108 (of the container)
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges", f"seccomp={browser_profile()}"],
                "LogConfig": {"Type": "none"},
                "RestartPolicy": {"Name": "no"},
            },
        }

    async def _create(self, name: str, body: dict[str, Any]) -> aiodocker.containers.DockerContainer:
        with engine_errors():
            try:
                return await self._docker.containers.create(body, name=name)
            except aiodocker.DockerError as error:
                if error.status == 404:
                    raise Fault(
                        f"There is no image {self._image} with a browser.",
                        hint="Make it with `scripts/base-image.sh chromium`, or set `pictures.image`.",
                        reason="browser-missing",
                    ) from error
                raise _failed(error.message) from error

    async def _output(self, container: aiodocker.containers.DockerContainer) -> bytes:
        """What the browser's driver writes, up to `MAX_OUTPUT`, until its time is over."""
        output = bytearray()
        with engine_errors():
            try:
                async with container.attach(stdout=True, stderr=False, stdin=False) as stream:
                    await container.start()
                    async for part in _parts(stream):
                        output += part
                        if len(output) > MAX_OUTPUT:
                            break
            except aiodocker.DockerError as error:
                if error.status >= 500:
                    raise
                raise _failed(error.message) from error
        return bytes(output)

    async def _explain(self, container: aiodocker.containers.DockerContainer) -> None:
        """Raise the reason for which there is no picture at all, if the browser is to blame."""
        with engine_errors():
            state = (await container.show())["State"]
        if state.get("OOMKilled"):
            raise Fault(
                f"The browser needed more than {MEMORY >> 20} MB for the page.",
                hint="A smaller page, or fewer large images, gets a picture.",
                reason="browser-memory",
            )
        if not state.get("Running") and state.get("ExitCode"):
            raise _failed(f"exit code {state['ExitCode']}")


def _order(target: _Target, host: str, views: Sequence[View]) -> str:
    pages = [
        {"route": v.route, "url": f"http://{host}{v.route}", "width": v.width, "height": HEIGHT}
        for v in views
    ]
    mapping = f"--host-resolver-rules=MAP {host} {target.address}"
    order = {"seconds": SECONDS, "page_seconds": PAGE_SECONDS, "arguments": [mapping], "pages": pages}
    return json.dumps(order)


async def _parts(stream: aiodocker.stream.Stream) -> AsyncIterator[bytes]:
    end = asyncio.get_running_loop().time() + SECONDS + EXTRA_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(end):
                message = await stream.read_out()
        except TimeoutError:
            return
        if message is None:
            return
        yield message.data


def _failed(why: str) -> Fault:
    return Fault(
        f"The browser failed: {why}.",
        hint="Chromium's sandbox needs unprivileged user namespaces: see the page about pictures.",
        reason="browser-failed",
    )


def _shots(output: bytes, views: Sequence[View]) -> list[Shot]:
    """The shots of these lines. A page may have changed the browser that wrote them, so nothing of them is
    believed."""
    found: dict[View, Shot] = {}
    for line in output.splitlines():
        try:
            data = json.loads(line)
            shot = _shot(data)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            binascii.Error,
            RecursionError,
            OverflowError,
        ):
            continue
        if shot.view in views:
            found[shot.view] = shot
    return [found.get(view) or Shot(view, failed="no picture in time") for view in views]


def _clean(text: object, longest: int) -> str:
    """The text, cut. A page can make text of half characters, which UTF-8 can't express."""
    return str(text)[:longest].encode("utf-8", "replace").decode("utf-8")


def _shot(data: dict[str, Any]) -> Shot:
    view = View(str(data["route"]), int(data["width"]))
    png = base64.b64decode(str(data.get("png") or ""), validate=True)
    problems = tuple(_clean(each, 300) for each in list(data.get("problems") or ())[:10])
    if not is_usable(png):
        return Shot(view, problems=problems, failed=_clean(data.get("failed") or "no usable picture", 200))
    return Shot(view, png, int(data.get("status") or 0), problems)
