"""The handlers and strategies that a configuration names, made with what their constructors ask for."""

from __future__ import annotations

from typing import TypeVar

from stager.ports.handlers import Handler, Previews
from stager.ports.login import Logins
from stager.ports.plugins import KINDS
from stager.settings.loading.loader import Loaded
from stager.settings.plugins.sections import settings_of

H = TypeVar("H", bound=Handler)


class Chosen:
    """Makes each that is named, once.

    Args:
        previews: what they may ask about previews.
        logins: sign-ins under way.
    """

    def __init__(self, loaded: Loaded, previews: Previews, logins: Logins) -> None:
        self._loaded = loaded
        self._offers: dict[str, object] = {
            "logins": logins,
            "previews": previews,
            "users": {user.name: user.password.reveal() for user in loaded.settings.users},
        }
        self._made: dict[str, Handler] = {}

    def those(self, base: type[H]) -> list[H]:
        """Those of this kind, in the configuration's order.

        Raises:
            Refused: one of them can't be made.
        """
        kind = next(kind for kind, of_kind in KINDS.items() if of_kind is base)
        made = (self._make(name) for name in getattr(self._loaded.settings, kind))
        return [handler for handler in made if isinstance(handler, base)]

    def _make(self, name: str) -> Handler:
        if name not in self._made:
            plugin = self._loaded.plugins.get(name)
            own = settings_of(plugin, self._loaded.settings)
            self._made[name] = plugin.make({**self._offers, "settings": own})
        return self._made[name]
