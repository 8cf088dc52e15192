"""Tells people where they are: in Slack, and through Apprise in a hundred other services.

Apprise costs 25 MB and half a second, so it is imported only where one of these is switched on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from stager.ports.handlers import PostLaunchHandler, Preview

if TYPE_CHECKING:
    import apprise

STAGED = "{image_name}/{container_name} is now staged at {url}"
_FIRST_SLACK = "isn't a setting any more; Slack gives a `webhook_url` for an incoming webhook instead"


class NotifyOnLaunch(PostLaunchHandler):
    """Tells any of Apprise's services, such as mail, Matrix, Teams or Telegram, that a preview is up."""

    section = "notify"

    class Settings(BaseModel):
        """Whom to tell that a preview is up, and in which words."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        urls: tuple[SecretStr, ...]
        """The services, by their Apprise URLs: `tgram://TOKEN/CHAT`, `mailto://USER:PASSWORD@example.org`."""

        message: str = STAGED
        """What to say; `{image_name}`, `{container_name}` and `{url}` are filled in."""

        @field_validator("urls")
        @classmethod
        def _of_known_services(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
            for number, url in enumerate(urls):
                _service(url.get_secret_value(), f"the one at place {number + 1}")
            return urls

        @field_validator("message")
        @classmethod
        def _can_be_filled_in(cls, message: str) -> str:
            if not message.strip():
                raise ValueError("should say something; leave it out for the usual message")
            try:
                message.format(image_name="", container_name="", url="")
            except (LookupError, ValueError, AttributeError):
                raise ValueError("should have no fields but {image_name}, {container_name}, {url}") from None
            return message

    def __init__(self, settings: Settings) -> None:
        self._message = settings.message
        self._services = [_service(url.get_secret_value()) for url in settings.urls]

    def launched(self, preview: Preview) -> None:
        _tell(self._services, _filled(self._message, preview))


class PostToSlackOnLaunch(PostLaunchHandler):
    """Tells a Slack channel that a preview is up."""

    section = "slack"

    class Settings(BaseModel):
        """Where in Slack to tell that a preview is up."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        misplaced: ClassVar = {"subdomain": _FIRST_SLACK, "token": _FIRST_SLACK}

        webhook_url: SecretStr
        """The incoming webhook, `https://hooks.slack.com/services/...`."""

        channel: str = ""
        """The channel, where it isn't the webhook's own."""

        username: str = ""
        """Under which name to speak, where it isn't the webhook's own."""

        @field_validator("webhook_url")
        @classmethod
        def _of_slack(cls, url: SecretStr) -> SecretStr:
            if not url.get_secret_value().startswith("https://hooks.slack.com/services/"):
                raise ValueError("should begin with https://hooks.slack.com/services/")
            _service(url.get_secret_value(), "it")
            return url

    def __init__(self, settings: Settings) -> None:
        tokens = settings.webhook_url.get_secret_value().rstrip("/").partition("/services/")[2]
        name = f"{quote(settings.username, safe='')}@" if settings.username else ""
        channel = f"/{quote('#' + settings.channel.lstrip('#'), safe='')}" if settings.channel else ""
        self._service = _service(f"slack://{name}{tokens}{channel}/?footer=no")

    def launched(self, preview: Preview) -> None:
        _tell([self._service], _filled(STAGED, preview))


def _service(url: str, which: str = "it") -> apprise.NotifyBase:
    """Apprise's object for a URL. The error doesn't quote it: such URLs are made of secrets."""
    import apprise  # noqa: PLC0415 (see above)

    apprise.logger.disabled = True  # it would write a URL that it doesn't understand into the log
    try:
        service = apprise.Apprise.instantiate(url)
    finally:
        apprise.logger.disabled = False
    if not isinstance(service, apprise.NotifyBase):
        raise ValueError(f"should be a URL that Apprise knows; {which} isn't")  # noqa: TRY004 (a setting's value)
    return service


def _filled(message: str, preview: Preview) -> str:
    return message.format(
        image_name=preview.image_name, container_name=preview.container_name, url=preview.url
    )


def _tell(services: list[apprise.NotifyBase], message: str) -> None:
    """Say it everywhere, also after one has failed.

    Raises:
        RuntimeError: somewhere it wasn't taken; names the services, not their URLs.
    """
    import apprise  # noqa: PLC0415 (see above)

    failed = [str(s.service_name) for s in services if not apprise.Apprise(s).notify(body=message)]
    if failed:
        raise RuntimeError(f"{', '.join(failed)} didn't take the message")
