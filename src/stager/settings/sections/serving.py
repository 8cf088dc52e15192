"""Where Stager listens, and what stands in front of it: nginx, HTTPS, domains."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stager.domain.names import SlugRule
from stager.settings.loading.context import Context, NameOf, OptionalPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.network import (
    Address,
    Domain,
    Listen,
    Network,
    PortRange,
    Ports,
    Url,
    check_template,
)
from stager.settings.values.scalars import NOT_BOOLEAN, POSITIVE, Duration, Words
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section, Task

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
DEFAULT_NETWORKS: tuple[Any, ...] = ("127.0.0.0/8", "::1/128")


class Rfc2136(Section):
    """Dynamic updates of DNS records (RFC 2136), signed with a TSIG key."""

    server: Listen
    """Address of the domain's primary name server, such as `192.0.2.53:53`."""

    key_name: str
    """Name of the TSIG key."""

    secret: Secret
    """The TSIG key, in base64."""

    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1"] = (
        "hmac-sha256"
    )
    """Algorithm of the TSIG key."""

    zone: str = ""
    """Zone that has the records. By default, the name server is asked."""

    @field_validator("key_name", "zone")
    @classmethod
    def _is_name(cls, name: str, info: ValidationInfo) -> str:
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII) and (name or info.field_name == "key_name"):
            raise InvalidValue('should be a name such as "stager"')
        return name

    @field_validator("secret")
    @classmethod
    def _is_base64(cls, secret: Secret) -> Secret:
        message = "should be the key in base64"  # without the text, which is a secret
        try:
            is_key = bool(base64.b64decode(secret.reveal(), validate=True))
        except ValueError:
            raise ValueError(message) from None
        if not is_key:
            raise ValueError(message)
        return secret


class AcmeDns(Section):
    """How Stager proves by DNS records (DNS-01) that the domain is yours. Then one wildcard certificate
    covers all previews, and no port has to be reachable from the Internet. Give `hook` or `rfc2136`."""

    hook: Words = ()
    """Command that changes a TXT record. It is called with `present` or `cleanup`, the record's name and its
    value, as by lego's `exec` provider, and without environment variables other than `PATH`."""

    rfc2136: Rfc2136 | None = None
    """Name server that accepts updates."""

    wait: Duration = 30.0
    """Time from the change of a record until all name servers of the domain have it."""

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if bool(self.hook) == (self.rfc2136 is not None):
            refuse((("hook",), "or `rfc2136` is required, and not both"))
        return self


class Acme(Section):
    """Certificates ordered and renewed by Stager itself, by ACME (RFC 8555). With this setting you accept the
    issuer's terms of service."""

    form: ClassVar = "acme: {email: admin@example.org}"

    email: str
    """Your address, for the account at the issuer."""

    directory: Url = LETS_ENCRYPT
    """URL of the issuer's ACME directory. For tests, Let's Encrypt has
    `https://acme-staging-v02.api.letsencrypt.org/directory`."""

    ca_file: OptionalPath = None
    """Certificates (PEM) that the ACME server's own certificate is verified with, for a server of your own.
    By default, those of the system."""

    dns: AcmeDns | None = None
    """Wildcard certificates by DNS records. Without it, each preview gets a certificate of its own on the
    first request, for which the issuer requests port 80 of its host (HTTP-01)."""

    certificates_per_week: Annotated[int, Field(ge=1), NOT_BOOLEAN] = 40
    """Maximum number of new certificates in 7 days; renewals don't count. Let's Encrypt allows 50 per
    registered domain."""

    @field_validator("email")
    @classmethod
    def _is_address(cls, email: str) -> str:
        if not re.fullmatch(r"[^\s@,:]+@[^\s@,:]+\.[^\s@,:]+", email):
            raise InvalidValue('should be an address such as "admin@example.org"')
        return email


class Tls(Section):
    """HTTPS served by Stager itself: with certificates that it orders (`acme`), or with files (`certificate`
    and `key`), which are read again without a restart when they were renewed."""

    listen: Listen = Field(default=Address("0.0.0.0", 443), validate_default=True)  # noqa: S104 (a server for visitors)
    """Address of the HTTPS listener."""

    acme: Acme | None = None
    """Certificates ordered and renewed by Stager."""

    certificate: OptionalPath = None
    """Certificate with its chain, as PEM; usually a wildcard certificate."""

    key: OptionalPath = None
    """Private key of the certificate, as PEM."""

    redirect: bool = True
    """Whether HTTP requests for previews and Stager's own pages are redirected to HTTPS. Requests for an
    address or `localhost` aren't."""

    hsts: Duration = 0.0
    """How long browsers use only HTTPS for a host after a visit (`Strict-Transport-Security`). With 0, the
    header isn't sent. It can't be taken back before that time."""

    @model_validator(mode="after")
    def _has_certificate(self) -> Self:
        files = [name for name in ("certificate", "key") if getattr(self, name) is not None]
        if self.acme and files:
            refuse(((files[0],), "can't be given with `acme`, which orders certificates"))
        if not self.acme and len(files) < 2:
            missing = [name for name in ("certificate", "key") if name not in files]
            refuse(*(((name,), "is required, unless `acme` is given") for name in missing))
        return self


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


def _merged(data: Any) -> Any:
    # The walkthrough writes a list of mappings with one key each.
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        return data
    keys = [key for item in data for key in item]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        refuse(*(((key,), "is given twice") for key in sorted(twice)))
    return {key: value for item in data for key, value in item.items()}


_MERGED = BeforeValidator(_merged, json_schema_input_type=Nginx | list[dict[str, str | list[str]]])


class Serving(Task):
    """Stager serves previews and its own pages on `listen`. [nginx and HTTPS](../how-to/nginx-and-https.md)
    describes the ways to put HTTPS in front of it."""

    title: ClassVar = "Addresses, nginx and HTTPS"
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
    (`nginx`) to write vhost files for nginx."""

    nginx: Annotated[Nginx, _MERGED] = Nginx()
    """Settings of `NginxRoutingStrategy`: a mapping, or a list of mappings with one key each."""

    ingress_ports: Ports = Field(default=PortRange(3200, 3500), validate_default=True)
    """Range of loopback ports; each preview with a vhost file gets one. The environment variables `MIN_PORT`
    and `MAX_PORT` override it."""

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
