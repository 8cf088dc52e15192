"""Creates the handlers and strategies that a configuration names."""

from __future__ import annotations

from typing import TypeVar

from stager.ports.handlers import Handler, Previews
from stager.ports.login import Logins
from stager.ports.plugins import KINDS
from stager.settings.loading.loader import Loaded
from stager.settings.plugins.sections import settings_of

H = TypeVar("H", bound=Handler)


class PluginInstances:
    """Creates one instance of each named class.

    Args:
        previews: the plugin API for previews.
        logins: the pending OAuth logins.
    """

    def __init__(self, loaded: Loaded, previews: Previews, logins: Logins) -> None:
        self._loaded = loaded
        self._arguments: dict[str, object] = {
            "logins": logins,
            "previews": previews,
            "users": {user.name: user.password.reveal() for user in loaded.settings.users},
        }
        self._instances: dict[str, Handler] = {}

    def of_type(self, base: type[H]) -> list[H]:
        """Return the instances of a kind, in the configuration's order.

        Raises:
            Refused: `plugin-broken`: a constructor failed.
        """
        kind = next(kind for kind, of_kind in KINDS.items() if of_kind is base)
        instances = (self._instance(name) for name in getattr(self._loaded.settings, kind))
        return [handler for handler in instances if isinstance(handler, base)]

    def _instance(self, name: str) -> Handler:
        if name not in self._instances:
            plugin = self._loaded.plugins.get(name)
            own = settings_of(plugin, self._loaded.settings)
            self._instances[name] = plugin.make({**self._arguments, "settings": own})
        return self._instances[name]
