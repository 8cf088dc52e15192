"""HTTPS by Stager itself: certificates from files, or ordered by ACME."""

from __future__ import annotations

import base64
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from stager.settings.loading.context import OptionalPath
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.network import Address, Listen, Url
from stager.settings.values.scalars import NOT_BOOLEAN, Duration, Words
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


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
    """Whether HTTP requests for previews and Stager's own pages are redirected to HTTPS, if `scheme` is
    `https`. Requests for an address or `localhost` aren't."""

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
