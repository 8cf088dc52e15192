"""Chooses the main service, and the ports of those that are routed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stager.project.compose.findings import Findings
from stager.project.compose.images import kind_of, page_of
from stager.project.compose.ports import choose
from stager.project.compose.result import Options, Place
from stager.project.compose.service import Declared
from stager.project.compose.value import Refused


def main_service(
    services: Sequence[Declared], names: Mapping[str, str], options: Options, path: str
) -> tuple[Declared, str]:
    """Return the main service of those that run, and why it is that one; empty if it is configured.

    Args:
        names: the names of the model by the file's own.
        path: the Compose file.

    Raises:
        Refused: it is ambiguous, or the configured one doesn't run.
    """
    if options.web:
        found = next((each for each in services if options.web in (each.name, names[each.name])), None)
        if found is None:
            shown = ", ".join(each.name for each in services) or "none"
            raise Refused(Place(path), f"`web` is {options.web!r}, but the services that run are {shown}.")
        return found, ""
    own = [each for each in services if not kind_of(each.spec.image)]
    rules = (
        ([each for each in own if each.ports], "the only one with ports besides databases and tools"),
        ([each for each in own if each.exposed], "the only one with `expose` besides databases and tools"),
        ([each for each in own if each.spec.build], "the only one that is built"),
        (own, "the only one besides databases and tools"),
    )
    for candidates, why in rules:
        if len(candidates) == 1:
            return candidates[0], why
        if candidates:
            shown = ", ".join(each.name for each in candidates)
            text = f"The main service is one of {shown}."
            raise Refused(candidates[0].value.place, text, "Choose it with `web: NAME` in .stager.yml.")
    if services:
        shown = ", ".join(each.name for each in services)
        text = f"Only databases and tools run, and no application ({shown})."
        raise Refused(Place(path), text, "Add a service with `build: .`, or choose one with `web: NAME`.")
    raise Refused(Place(path), "No service runs.", "Choose `profiles` in .stager.yml, or add a service.")


def routed_port(service: Declared, findings: Findings, *, is_main: bool) -> int | None:
    """Return the port that gets the requests for a service's host; None if it has no host."""
    spec = service.spec
    ports = service.ports or (service.exposed if is_main else ())
    port = choose(ports, spec.image)
    if kind_of(spec.image) == "store" and not is_main:
        return port if port is not None and port == page_of(spec.image) else None
    if port is not None and len(ports) > 1:
        others = ", ".join(str(each) for each in ports if each != port)
        place = service.value.place
        findings.guess(place, f"{spec.name} gets requests at port {port}; its other ports are {others}.")
    return port
