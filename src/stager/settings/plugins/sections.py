"""The configuration with the settings of pluggable classes, each declared by its class.

The model is created for the classes that were found, so that their settings are validated, reported and
documented like all others.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from pydantic import BaseModel, Field, RootModel, create_model, model_validator

from stager.ports.plugins import Plugin, PluginProblem, PluginRegistry
from stager.settings.model import Settings
from stager.settings.plugins.available import Known
from stager.settings.sections.operation import Handlers
from stager.settings.values.section import Section


class _Plugged(Settings):
    """Settings with required sections of plugins."""

    known: ClassVar[Known]

    @model_validator(mode="before")
    @classmethod
    def _add_required_sections(cls, data: Any) -> Any:
        """Add missing sections of named classes, so that their required keys are reported with their
        paths."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for plugin in cls.known.named_in(data):
            if plugin.settings is None or not _has_required(plugin.settings):
                continue
            if place := plugin.cls.section:
                data[place] = {} if data.get(place) is None else data[place]
            elif isinstance(within := data.get("handlers") or {}, dict):
                data["handlers"] = {**within, plugin.name: within.get(plugin.name) or {}}
        return data


@functools.lru_cache(maxsize=8)
def model_for(plugins: PluginRegistry) -> type[Settings]:
    """Create the model of a configuration with these plugins."""
    with_settings = [plugin for plugin in plugins if plugin.settings is not None]
    below = {p.name: _field(p) for p in with_settings if not p.cls.section}
    beside = {p.cls.section: _field(p) for p in with_settings if p.cls.section}
    handlers = cast(
        "type[Handlers]",
        create_model("Handlers", __base__=Handlers, __doc__=Handlers.__doc__, **cast("Any", below)),
    )
    handlers.misplaced = {p.name: f"belongs under `{p.cls.section}`" for p in with_settings if p.cls.section}
    beside["handlers"] = (handlers, Field(default_factory=handlers))
    model = create_model("Settings", __base__=_Plugged, __doc__=Settings.__doc__, **cast("Any", beside))
    model.known = Known(plugins)
    return model


def problems_with_sections(plugins: Iterable[Plugin]) -> list[PluginProblem]:
    """Return a problem for each plugin whose section is taken."""
    taken = dict.fromkeys(Settings.model_fields, "Stager")
    found: list[PluginProblem] = []
    for plugin in plugins:
        section = plugin.cls.section
        if section in taken:
            message = f"{plugin.name} has the section {section}, which belongs to {taken[section]}"
            found.append(PluginProblem(plugin.origin, message))
        elif section:
            taken[section] = plugin.name
    return found


def settings_of(plugin: Plugin, settings: Settings) -> object | None:
    """Return the settings of a class; None if it has none."""
    if plugin.settings is None:
        return None
    place = getattr(settings, plugin.cls.section) if plugin.cls.section else None
    given = place if plugin.cls.section else getattr(settings.handlers, plugin.name)
    return plugin.settings() if given is None else cast("object", given)


def _field(plugin: Plugin) -> tuple[Any, Any]:
    model = _section(plugin.settings) if plugin.settings else Section
    return (model | None, Field(default=None, description=_about(plugin)))


def _section(model: type[Any]) -> type[Any]:
    """Turn a model into a section, in which an unknown key is an error."""
    if issubclass(model, RootModel):
        return model
    return create_model(model.__name__, __base__=(model, Section), __doc__=model.__doc__, __module__=__name__)


def _about(plugin: Plugin) -> str:
    return (
        f"Settings of `{plugin.name}`: {plugin.settings.__doc__ or plugin.summary}" if plugin.settings else ""
    )


def _has_required(model: type[BaseModel]) -> bool:
    return any(field.is_required() for field in model.model_fields.values())
