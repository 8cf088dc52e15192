"""Notifications about launches: to Slack, and through Apprise to a hundred other services.

Apprise takes 25 MB and half a second to import, so it is imported only when one of these handlers is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, SecretStr, field_validator

from stager.ports.handlers import PostLaunchHandler, Preview

if TYPE_CHECKING:
    import apprise

STAGED = "{image_name}/{container_name} is now staged at {url}"
_FIRST_SLACK = "was removed; use `webhook_url` with the URL of an incoming webhook"


class NotifyOnLaunch(PostLaunchHandler):
    """Notifies the services in `notify.urls`, such as mail, Matrix, Teams or Telegram, when a preview
    is live."""

    section = "notify"

    class Settings(BaseModel):
        """Which services are notified when a preview is live, and with which text."""

        urls: tuple[SecretStr, ...]
        """Apprise URLs of the services: `tgram://TOKEN/CHAT`, `mailto://USER:PASSWORD@example.org`."""

        message: str = STAGED
        """The text, with the fields `{image_name}`, `{container_name}`, `{url}` and `{services}`: the URLs of
        the services with hosts of their own, each on a line after its name."""

        @field_validator("urls")
        @classmethod
        def _check_urls(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
            for number, url in enumerate(urls):
                _service(url.get_secret_value(), f"number {number + 1}")
            return urls

        @field_validator("message")
        @classmethod
        def _check_message(cls, message: str) -> str:
            if not message.strip():
                raise ValueError("should have some text; leave it out for the default")
            try:
                message.format(image_name="", container_name="", url="", services="")
            except (LookupError, ValueError, AttributeError):
                raise ValueError(
                    "should have no fields but {image_name}, {container_name}, {url}, {services}"
                ) from None
            return message

    def __init__(self, settings: Settings) -> None:
        self._message = settings.message
        self._services = [_service(url.get_secret_value()) for url in settings.urls]

    def launched(self, preview: Preview) -> None:
        _send(self._services, _formatted(self._message, preview))


class PostToSlackOnLaunch(PostLaunchHandler):
    """Posts to a Slack channel when a preview is live."""

    section = "slack"

    class Settings(BaseModel):
        """Where in Slack to post when a preview is live."""

        misplaced: ClassVar = {"subdomain": _FIRST_SLACK, "token": _FIRST_SLACK}

        webhook_url: SecretStr
        """URL of the incoming webhook, `https://hooks.slack.com/services/...`."""

        channel: str = ""
        """Channel, if not the webhook's default."""

        username: str = ""
        """User name, if not the webhook's default."""

        @field_validator("webhook_url")
        @classmethod
        def _check_url(cls, url: SecretStr) -> SecretStr:
            if not url.get_secret_value().startswith("https://hooks.slack.com/services/"):
                raise ValueError("should begin with https://hooks.slack.com/services/")
            _service(url.get_secret_value(), "the URL")
            return url

    def __init__(self, settings: Settings) -> None:
        tokens = settings.webhook_url.get_secret_value().rstrip("/").partition("/services/")[2]
        name = f"{quote(settings.username, safe='')}@" if settings.username else ""
        channel = f"/{quote('#' + settings.channel.lstrip('#'), safe='')}" if settings.channel else ""
        self._service = _service(f"slack://{name}{tokens}{channel}/?footer=no")

    def launched(self, preview: Preview) -> None:
        _send([self._service], _formatted(STAGED, preview))


def _service(url: str, which: str = "the URL") -> apprise.NotifyBase:
    """Apprise's object for a URL. The error doesn't quote the URL: such URLs contain secrets."""
    import apprise  # noqa: PLC0415 (see above)

    apprise.logger.disabled = True  # It logs URLs that it can't parse.
    try:
        service = apprise.Apprise.instantiate(url)
    finally:
        apprise.logger.disabled = False
    if not isinstance(service, apprise.NotifyBase):
        raise ValueError(f"should be a URL that Apprise supports; {which} isn't")  # noqa: TRY004 (a setting's value)
    return service


def _formatted(message: str, preview: Preview) -> str:
    services = (f"{each.name}: {each.url}" for each in preview.services if each.url and not each.is_main)
    return message.format(
        image_name=preview.image_name,
        container_name=preview.container_name,
        url=preview.url,
        services="\n".join(services),
    )


def _send(services: list[apprise.NotifyBase], message: str) -> None:
    """Send the message to all services, also after one has failed.

    Raises:
        RuntimeError: a service didn't accept it; names the services, not their URLs.
    """
    import apprise  # noqa: PLC0415 (see above)

    failed = [str(s.service_name) for s in services if not apprise.Apprise(s).notify(body=message)]
    if failed:
        raise RuntimeError(f"{', '.join(failed)} didn't accept the message")
