"""How code from forks is built, for all applications."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from stager.settings.loading.refusals import Unfit, refuse
from stager.settings.values.network import OneDestination
from stager.settings.values.scalars import POSITIVE, Duration, Form, Size
from stager.settings.values.section import Section

_IMAGES = re.compile(r"[a-z0-9*?][a-z0-9*?._/-]*(:[0-9]+/[a-z0-9*?._/-]+)?:[A-Za-z0-9*?_][A-Za-z0-9*?._-]*")


def _images(pattern: str) -> str:
    if not _IMAGES.fullmatch(pattern):
        raise Unfit('should be an image with its tag, such as "stager-base/static:1" or "stager-base/*:1"')
    return pattern


ImageOfHost = Annotated[str, AfterValidator(_images), Form("image pattern")]
MOST_REGISTRIES = 4
"""Each may have four addresses, and the firewall takes sixteen."""


class Forks(Section):
    """How code from forks is built. Whether forks get a preview at all, `forks` of each application says."""

    images: tuple[ImageOfHost, ...] = ()
    """Images of this machine that code from forks may be built from, such as `stager-base/static:1`; `*`
    stands for any characters. All others come from their registries, without credentials. Whoever may open
    a pull request can read all that is in them."""

    registries: Annotated[tuple[OneDestination, ...], Field(max_length=MOST_REGISTRIES)] = ()
    """Registries in private networks that builds of code from forks may reach, as `host:port`. They get no
    credentials."""

    largest_image: Annotated[Size, POSITIVE] = 4 << 30
    """How large an image that is built of code from a fork may be."""

    idle_builder: Duration = 600.0
    """How long the builder for code from forks goes on running without a build."""

    unsafe_shared_builder: bool = False
    """Whether code from forks may be built where trusted code is, if there is no builder of its own. Such a
    build can influence all others on this machine, reach services of the machine, and use its registry
    credentials; each preview made so says it."""


def _section(data: Any) -> Any:
    if isinstance(data, bool | str):
        refuse(((), "is the section on how code from forks is built; whether an application's forks get a"
                ' preview ("off", "approve" or "open") belongs under one of the `images`'))  # fmt: skip
    return data


ForksSection = Annotated[Forks, BeforeValidator(_section, json_schema_input_type=Forks)]


def check_application_forks(value: Any) -> Any:
    """Refuse the section of this name where an application's own key is meant."""
    if isinstance(value, dict):
        refuse(((), 'should be "off", "approve" or "open"; how code from forks is built, such as'
                ' `unsafe_shared_builder`, belongs under `forks` at the top of the file'))  # fmt: skip
    return value
