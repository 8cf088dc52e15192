"""How code from forks is built, and how previews are isolated."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from stager.domain.catalogue import OFFICIAL
from stager.settings.loading.context import FolderPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.network import OneDestination
from stager.settings.values.scalars import POSITIVE, Duration, Form, Size
from stager.settings.values.section import Section, Task

_IMAGES = re.compile(r"[a-z0-9*?][a-z0-9*?._/-]*(:[0-9]+/[a-z0-9*?._/-]+)?:[A-Za-z0-9*?_][A-Za-z0-9*?._-]*")


def _images(pattern: str) -> str:
    if not _IMAGES.fullmatch(pattern):
        raise InvalidValue(
            'should be an image with its tag, such as "stager-base/static:1" or "stager-base/*:1"'
        )
    return pattern


_SERVICE_IMAGES = re.compile(r"[a-z0-9*][A-Za-z0-9*._/:@-]*")


def _service_images(pattern: str) -> str:
    if not _SERVICE_IMAGES.fullmatch(pattern):
        raise InvalidValue('should be an image such as "elasticsearch:8.*", or "catalogue"')
    return pattern


ServiceImage = Annotated[str, AfterValidator(_service_images), Form("image pattern")]
ImageOfHost = Annotated[str, AfterValidator(_images), Form("image pattern")]
MAX_REGISTRIES = 4
"""Each may have four addresses, and the firewall takes sixteen."""


class Forks(Section):
    """The builder for code from forks. Whether forks get a preview is decided by `forks` of each
    application."""

    base_images: tuple[ImageOfHost, ...] = ()
    """Images of this machine that code from forks may use as base images, such as `stager-base/static:1`; `*`
    matches any characters. Everybody who may open a pull request can read their content. All other images are
    pulled from their registries without credentials."""

    images: tuple[ServiceImage, ...] = (OFFICIAL,)
    """Images that services of code from forks may run, such as `elasticsearch:8.*` or `ghcr.io/acme/*`; `*`
    matches any characters but `/`, and a name without tag has all tags. `catalogue` stands for the images of
    the [catalogue](services.md#catalogue) on Docker Hub. Images of services in this file are allowed as
    well."""

    registries: Annotated[tuple[OneDestination, ...], Field(max_length=MAX_REGISTRIES)] = ()
    """Registries in private networks that these builds may reach, as `host:port`, without credentials. At
    most 4."""

    max_image_size: Annotated[Size, POSITIVE] = 4 << 30
    """Maximum size of an image built from a fork."""

    builder_idle_timeout: Duration = 600.0
    """Time without a build after which the builder is stopped."""

    unsafe_shared_builder: bool = False
    """Whether code from forks is built by the builder of trusted code. Such a build can change the results of
    all other builds on this machine, reach its services, and use its registry credentials; each affected
    preview shows a warning."""


def _section(data: Any) -> Any:
    if isinstance(data, bool | str):
        refuse(((), "should be a mapping with settings of the builder; whether an application's forks get a"
                ' preview ("off", "approve" or "open") belongs under one of the `images`'))  # fmt: skip
    return data


ForksSection = Annotated[Forks, BeforeValidator(_section, json_schema_input_type=Forks)]


def check_application_forks(value: Any) -> Any:
    """Refuse the top-level section `forks` under an application."""
    if isinstance(value, dict):
        refuse(((), 'should be "off", "approve" or "open"; settings of the builder, such as'
                ' `unsafe_shared_builder`, belong under `forks` at the top of the file'))  # fmt: skip
    return value


class ForksAndIsolation(Task):
    """The root helper runs the firewall and the builder for code from forks. [Forks and
    secrets](../explanation/forks-and-secrets.md) explains what code from forks gets, [Root
    helper](../how-to/root-helper.md) the installation. What previews may connect to is set by `egress` and
    `egress_allow`, see [Limits](#limits)."""

    title: ClassVar = "Forks and isolation"
    example: ClassVar = """\
images:
  shop:
    port: 3000
    build: .
    repo_owner: acme
    forks: approve           # needs an approval by a user with push access
    egress: internet         # no private networks, ...
    egress_allow: ["db.example.org:5432"]   # ... except this database
forks:
  base_images: ["stager-base/*:1"]
  registries: ["10.0.0.7:5000"]
  images: [catalogue, "elasticsearch:8.*"]
helper: required
"""

    forks: ForksSection = Forks()
    """The builder for code from forks."""

    helper: Literal["auto", "required", "off"] = "auto"
    """Whether the root helper is used. `auto`: if its socket exists; once it was used, Stager doesn't start
    without it. `required`: Stager doesn't start without it. `off`: no firewall, and no builder for forks."""

    helper_socket: Annotated[FolderPath, Field(validate_default=True)] = Path("/run/stager/helper.sock")
    """Socket of the root helper."""
