"""Types of network values: addresses, networks, domains and URLs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainSerializer, PlainValidator

from stager.domain.names import MIN_SLUG_LENGTH
from stager.domain.profile import Destination
from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.scalars import Form

MAX_DOMAIN: Final = 253 - 64
"""A host name has at most 253 characters (RFC 1035); 64 of them are reserved for the slug and its dot."""

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]/\s]+)):(?P<port>[0-9]{1,5})")
_PORTS: Final = re.compile(r"([0-9]{1,5}) ?- ?([0-9]{1,5})")
_DNS_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")

_FIELDS: Final = frozenset({"slug", "app", "domain"})
_END: Final = ".{domain}"


@dataclass(frozen=True, slots=True)
class Address:
    """A listener's address. With port 0, the system chooses the port."""

    host: str
    port: int

    @classmethod
    def read(cls, value: object) -> Address:
        """Parse an address: `127.0.0.1:8000`, `[::1]:8000` or `localhost:8000`.

        Raises:
            InvalidValue: it isn't an address.
        """
        if isinstance(value, Address):
            return value
        match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match["port"]) > 65_535 or not _is_host(match):
            raise InvalidValue('should be host:port such as "127.0.0.1:8000", "0.0.0.0:80" or "[::1]:8000"')
        return cls(match["six"] or match["host"], int(match["port"]))

    @property
    def local(self) -> Address:
        """The address at which a program on this machine connects: the loopback address for a listener on
        all interfaces."""
        return Address("127.0.0.1", self.port) if self.host in {"0.0.0.0", "::"} else self  # noqa: S104 (compared, not bound)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_host(match: re.Match[str]) -> bool:
    if match["six"]:
        return is_ip(match["six"])
    return is_ip(match["host"]) or is_dns_name(match["host"])


def is_ip(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_dns_name(text: str) -> bool:
    """Whether it is a host name that browsers don't take for an IPv4 address, as they do if the last label is
    a number."""
    labels = text.lower().split(".")
    return all(_DNS_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


Listen = Annotated[
    Address,
    PlainValidator(Address.read, json_schema_input_type=str),
    PlainSerializer(str),
    Form("host:port"),
]


def _destination(value: object) -> Destination:
    if isinstance(value, Destination):
        return value
    try:
        address = Address.read(value)
    except InvalidValue:
        address = Address("", 0)
    if not address.port:
        raise InvalidValue('should be host:port such as "10.0.0.5:5432" or "db.example.org:5432"')
    if address.host == "localhost" or (
        is_ip(address.host) and ipaddress.ip_address(address.host).is_loopback
    ):
        raise InvalidValue(
            f"should be an address of this machine as seen by previews, such as 172.17.0.1; {address.host} is"
            " the preview itself"
        )
    return Destination(address.host, address.port)


OneDestination = Annotated[
    Destination,
    PlainValidator(_destination, json_schema_input_type=str),
    PlainSerializer(str),
    Form("host:port"),
]


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports from the first to the last, inclusive."""

    first: int
    last: int

    @classmethod
    def read(cls, value: object) -> PortRange:
        """Parse a range such as `3200-3500`.

        Raises:
            InvalidValue: it isn't a range.
        """
        if isinstance(value, PortRange):
            return value
        match = _PORTS.fullmatch(str(value).strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 65_535:
            raise InvalidValue('should be a range of ports such as "3200-3500"')
        return cls(int(match[1]), int(match[2]))

    def within(self, environ: Mapping[str, str]) -> PortRange:
        """Return this range with the ends replaced by the first Stager's environment variables MIN_PORT and
        MAX_PORT, if set. Raises ValueError if the result isn't a range."""
        first, last = environ.get("MIN_PORT") or self.first, environ.get("MAX_PORT") or self.last
        try:
            return PortRange.read(f"{first}-{last}")
        except InvalidValue:
            raise ValueError(
                f"the variables MIN_PORT and MAX_PORT make it {first}-{last}, which isn't a range of ports"
            ) from None

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


Ports = Annotated[
    PortRange,
    PlainValidator(PortRange.read, json_schema_input_type=str),
    PlainSerializer(str),
    Form("ports"),
]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: object) -> IPNetwork:
    try:
        return ipaddress.ip_network(value if isinstance(value, IPNetwork) else str(value))
    except ValueError as error:
        raise InvalidValue('should be a network such as "10.0.0.0/8"') from error


def _network_of_v4(value: object) -> ipaddress.IPv4Network:
    network = _network(value)
    if not isinstance(network, ipaddress.IPv4Network):
        raise InvalidValue('should be an IPv4 network such as "10.200.0.0/14"')
    return network


Network = Annotated[
    IPNetwork, PlainValidator(_network, json_schema_input_type=str), PlainSerializer(str), Form("network")
]
NetworkV4 = Annotated[
    ipaddress.IPv4Network,
    PlainValidator(_network_of_v4, json_schema_input_type=str),
    PlainSerializer(str),
    Form("network"),
]


def _domain(value: str) -> str:
    if not value:
        return ""
    if "://" in value or "/" in value:
        raise InvalidValue('should be a name such as "demo.stager.io", without scheme and path')
    if value.startswith("*."):
        raise InvalidValue('should be without "*.", such as "demo.stager.io"; previews get names below it')
    name, colon, port = value.lower().partition(":")
    name = name.rstrip(".")
    if is_ip(name) or is_ip(value.strip("[]")):
        raise ValueError("should be a domain name; an IP address has no subdomains")
    if not is_dns_name(name) or (colon and not _is_port(port)):
        raise InvalidValue('should be a domain such as "demo.stager.io" or "localhost:8000"')
    if len(name) > MAX_DOMAIN:
        raise InvalidValue(f"should have at most {MAX_DOMAIN} characters; the previews' names are added")
    return f"{name}{colon}{port}"


def _is_port(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 65_535


Domain = Annotated[str, AfterValidator(_domain), Form("domain")]


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", value):
        raise InvalidValue('should be an address such as "https://github.example.org"')
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url), Form("URL")]


def check_template(template: str) -> None:
    """Refuse a template that doesn't give each preview a host of its own under the domain."""
    try:
        fields = [parts[1:] for parts in Formatter().parse(template) if parts[1] is not None]
    except ValueError as error:
        raise InvalidValue('should be like "{slug}.{domain}"') from error
    if any(spec or conversion or name not in _FIELDS for name, spec, conversion in fields):
        raise InvalidValue("should have no fields other than {slug}, {app} and {domain}")
    before, dot_domain = template[: -len(_END)], template[-len(_END) :]
    if dot_domain != _END or "{slug}" not in before or "{domain}" in before:
        raise InvalidValue('should contain {slug} and end with ".{domain}"')
    if not is_dns_name(before.format(slug="a", app="a")):
        raise InvalidValue("should have only characters that are valid in a host name")
    if not is_dns_name(before.format(slug="a" * MIN_SLUG_LENGTH, app="a")):
        raise InvalidValue(f"should leave {MIN_SLUG_LENGTH} of a label's 63 characters to the slug")
