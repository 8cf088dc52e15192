"""Where Stager listens, and what stands in front of it: nginx, HAProxy, HTTPS, domains."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stager.domain.names import SlugRule
from stager.settings.loading.context import Context, NameOf, OptionalPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.sections.https import Tls
from stager.settings.values.network import (
    Address,
    Domain,
    Listen,
    Network,
    PortRange,
    Ports,
    check_template,
)
from stager.settings.values.scalars import POSITIVE, Duration, Words
from stager.settings.values.section import Section, Task

DEFAULT_NETWORKS: tuple[Any, ...] = ("127.0.0.0/8", "::1/128")


class Nginx(Section):
    """Files and commands of nginx in front of Stager. Without `target_dir`, no files are written: the server
    block printed by `stager nginx config` serves all previews and never changes."""

    target_dir: OptionalPath = None
    """Folder for one vhost file per preview, such as `/etc/nginx/sites-enabled`."""

    template_path: OptionalPath = None
    """Template of a vhost file: Jinja, or the first Stager's format if the name ends with `.erb`. By default,
    or if the file doesn't exist, Stager's own template."""

    test_command: Words = ("nginx", "-t")
    """Command that tests nginx's configuration. If empty, it isn't tested."""

    reload_command: Words = ("nginx", "-s", "reload")
    """Command that reloads nginx's configuration. If empty, it isn't reloaded."""

    @model_validator(mode="after")
    def _has_target(self) -> Self:
        if self.template_path and not self.target_dir:
            refuse((("target_dir",), "is required, because `template_path` is given"))
        return self


def _one_line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise InvalidValue('should be an address such as "*:8080", in one line')
    return value.strip()


class Haproxy(Section):
    """File and commands of HAProxy in front of Stager. Without `target_path`, no file is written: the
    configuration printed by `stager haproxy config` serves all previews and never changes."""

    target_path: OptionalPath = None
    """Configuration file that Stager writes, such as `/etc/haproxy/stager/haproxy.cfg`."""

    template_path: OptionalPath = None
    """Jinja template of this file. By default, or if the path ends with `haproxy.cfg.erb` and the file
    doesn't exist, Stager's own template."""

    bind: Annotated[str, AfterValidator(_one_line)] = "*:8080"
    """Address on which HAProxy listens, with its options, in the form of HAProxy's `bind`:
    `:443 ssl crt /etc/haproxy/certs/stager.pem alpn h2,http/1.1`."""

    test_command: Words = ("haproxy", "-c", "-f")
    """Command that tests a configuration file; its path is appended. If empty, it isn't tested."""

    reload_command: Words = ("systemctl", "reload", "haproxy")
    """Command that reloads HAProxy's configuration. If empty, it isn't reloaded."""

    @model_validator(mode="after")
    def _has_target(self) -> Self:
        if self.template_path and not self.target_path:
            refuse((("target_path",), "is required, because `template_path` is given"))
        return self


def _merged(data: Any) -> Any:
    # The walkthrough writes a list of mappings with one key each.
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return data
    keys = [key for item in data for key in item]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        refuse(*(((key,), "is given twice") for key in sorted(twice)))
    return {key: value for item in data for key, value in item.items()}


_PIECES = list[dict[str, str | list[str]]]


class Serving(Task):
    """Stager serves previews and its own pages on `listen`. [nginx and HTTPS](../how-to/nginx-and-https.md)
    describes the ways to put HTTPS in front of it."""

    title: ClassVar = "Addresses, nginx, HAProxy and HTTPS"
    example: ClassVar = """\
domain: stager.example.org
preview_domain: preview.example.net
scheme: https
listen: 127.0.0.1:8000
tls:                         # without nginx: HTTPS by Stager itself
  listen: 0.0.0.0:443
  acme:
    email: admin@example.org
    dns:
      rfc2136:
        server: 192.0.2.53:53
        key_name: stager
        secret: ${DNS_UPDATE_KEY}
trusted_proxies: [127.0.0.0/8, 10.0.0.5/32]
routing_strategy: NginxRoutingStrategy
nginx:
  target_dir: /etc/nginx/sites-enabled
  reload_command: sudo systemctl reload nginx
haproxy:                     # with routing_strategy: HaproxyRoutingStrategy
  bind: "*:8080"
ingress_ports: 3200-3500
"""

    listen: Listen = Address("127.0.0.1", 8000)
    """Address of the HTTP listener, for previews and Stager's own pages."""

    scheme: Literal["http", "https"] = "http"
    """Scheme of the previews' URLs."""

    tls: Tls | None = None
    """HTTPS listener, in addition to `listen`."""

    preview_domain: Domain = ""
    """Domain of the previews, if it differs from `domain`. A registrable domain of its own keeps previews
    from reading each other's and Stager's cookies."""

    host_template: str = "{slug}.{domain}"
    """Host name of a preview, with the fields `{slug}`, `{app}` and `{domain}`."""

    slug: SlugRule = "standard"
    """How a branch or name becomes `{slug}`. `standard`: `feature/Login form` gives `feature-login-form`.
    `legacy`: as the first Stager, `featurelogin-form`. Existing previews keep their hosts."""

    trusted_proxies: tuple[Network, ...] = Field(default=DEFAULT_NETWORKS, validate_default=True)
    """Networks of the proxies whose `X-Forwarded-*` headers are trusted. With an empty list, none are."""

    routing_strategy: Annotated[str, NameOf("routing_strategy")] = "EmbeddedRoutingStrategy"
    """How requests reach previews: `EmbeddedRoutingStrategy` (short: `embedded`), or `NginxRoutingStrategy`
    (`nginx`) and `HaproxyRoutingStrategy` (`haproxy`) to write the configuration of nginx or HAProxy."""

    nginx: Annotated[Nginx, BeforeValidator(_merged, json_schema_input_type=Nginx | _PIECES)] = Nginx()
    """Settings of `NginxRoutingStrategy`: a mapping, or a list of mappings with one key each."""

    haproxy: Annotated[Haproxy, BeforeValidator(_merged, json_schema_input_type=Haproxy | _PIECES)] = (
        Haproxy()
    )
    """Settings of `HaproxyRoutingStrategy`: a mapping, or a list of mappings with one key each."""

    ingress_ports: Ports = Field(default=PortRange(3200, 3500), validate_default=True)
    """Range of loopback ports; each preview with a vhost file or a backend of its own gets one. The
    environment variables `MIN_PORT` and `MAX_PORT` override it."""

    response_timeout: Annotated[Duration, POSITIVE] = 60.0
    """Time that an application has to start its response after the whole request was sent; then the visitor
    gets status 504. Responses under way and WebSockets aren't limited."""

    wake_timeout: Annotated[Duration, POSITIVE] = 60.0
    """Time that a request to a sleeping preview waits until it is awake; then the visitor gets status 503 and
    `Retry-After`. A browser that opens a page gets a waiting page after three seconds instead."""

    @field_validator("tls")
    @classmethod
    def _has_domain(cls, tls: Tls | None, info: ValidationInfo) -> Tls | None:
        if tls is not None and tls.acme is not None and not info.data.get("domain", "-"):
            refuse((("acme",), "requires `domain`, for which certificates are ordered"))
        return tls

    @field_validator("ingress_ports")
    @classmethod
    def _from_environment(cls, ports: PortRange, info: ValidationInfo) -> PortRange:
        return ports.within(Context.of(info).environ)

    @field_validator("host_template")
    @classmethod
    def _valid_template(cls, template: str) -> str:
        check_template(template)
        return template
