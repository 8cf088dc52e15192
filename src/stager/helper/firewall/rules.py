"""The firewall's rules, as values: from what is wanted to the chains of one address family. No I/O.

A chain is a list of rules as `iptables -A CHAIN` takes them. Only `-i` and `-o` tell previews apart, so that
no address that a preview makes up changes what it may do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from stager.helper.firewall.policy import TRUSTED, UNTRUSTED, Allowed, Group, Policy

Chains = dict[str, list[str]]

FAMILIES = (4, 6)

METADATA = {
    4: ("169.254.0.0/16", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    6: ("fe80::/10", "fd00:ec2::254", "fd20:ce::254"),
}
"""Closed for all: link-local addresses (RFC 3927, RFC 4291), among which most clouds have their metadata
services, and where Alibaba, Azure, Oracle, AWS and Google have one elsewhere."""

PRIVATE = {
    4: (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598, shared with carriers, and used by overlay networks
        "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",  # RFC 6890: not of the internet
    ),
    6: ("fc00::/7", "fec0::/10", "64:ff9b:1::/48"),  # RFC 4193, RFC 3879, RFC 8215
}  # fmt: skip

ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED"
PROTOCOLS = ("tcp", "udp")
DNS = 53
NEIGHBOURS = (133, 135, 136)
"""ICMPv6 without which there is no IPv6 on a link (RFC 4861): router and neighbour solicitation, neighbour
advertisement."""


@dataclass(frozen=True, slots=True)
class Place:
    """What root decided on the command line.

    Args:
        chains: what our chains' names begin with.
        tag: of the only installation whose bridges are guarded; empty for all.
        builder: the interface of the untrusted builder.
        log_group: NFLOG's group, 0 for no log.
    """

    chains: str = "STAGER"
    tag: str = ""
    builder: str = "pvfbuild"
    log_group: int = 0

    @property
    def inward(self) -> str:
        """The chain that `INPUT` jumps to."""
        return f"{self.chains}-IN"

    @property
    def outward(self) -> str:
        """The chain that `DOCKER-USER`, or `FORWARD`, jumps to."""
        return f"{self.chains}-OUT"

    @property
    def interfaces(self) -> list[str]:
        """All that are guarded, as `-i` takes them."""
        prefixes = [f"{TRUSTED}{self.tag}+", f"{UNTRUSTED}{self.tag}+"]
        covered = any(self.builder.startswith(prefix[:-1]) for prefix in prefixes)
        return prefixes if covered else [*prefixes, self.builder]

    @property
    def untrusted(self) -> list[str]:
        """Those of code from forks."""
        return [interface for interface in self.interfaces if interface.startswith(UNTRUSTED)]


def chains_of(place: Place, policies: Sequence[Policy], resolvers: Sequence[str], family: int) -> Chains:
    """All chains of one address family.

    Args:
        resolvers: the name servers that the engine uses; those of the other family are left out.
        family: 4 or 6.
    """
    return _Making(place, policies, resolvers, family).chains()


class _Making:
    def __init__(
        self, place: Place, policies: Sequence[Policy], resolvers: Sequence[str], family: int
    ) -> None:
        self._place, self._policies, self._family = place, policies, family
        self._resolvers = [Allowed(address, DNS) for address in resolvers if self._is_mine(address)]
        self._inside = f"{place.inward}-PV"
        self._outside = f"{place.outward}-PV"
        self._private = f"{place.chains}-PRIVATE"
        self._block = f"{place.chains}-BLOCK"
        self._groups = [group for policy in policies for group in policy.groups]
        builder = tuple(allowed for policy in policies for allowed in policy.builder_allow)
        if builder:
            self._groups.append(Group("internet", builder, (place.builder,)))

    def chains(self) -> Chains:
        place, block = self._place, self._block
        made = {
            block: list(self._blocked()),
            self._private: [f"-d {net} -j {block}" for net in PRIVATE[self._family]],
            self._inside: list(self._inward()),
            self._outside: list(self._outward()),
            place.inward: [f"-i {interface} -j {self._inside}" for interface in place.interfaces],
            place.outward: [
                *(f"-o {interface} {ESTABLISHED} -j ACCEPT" for interface in place.interfaces),
                *(f"-i {interface} -j {self._outside}" for interface in place.interfaces),
                # Docker knows nothing of it, so that no rule of Docker's lets it out.
                f"-i {place.builder} -j ACCEPT",
            ],
        }
        for number, group in enumerate(self._groups):
            made[f"{place.inward}-{number}"] = list(self._inward_of(group))
            made[f"{place.outward}-{number}"] = list(self._outward_of(group))
        return made

    def _inward(self) -> Iterator[str]:
        """From previews to the machine itself. The machine's own rules decide on what is let through here,
        except for exceptions."""
        yield f"{ESTABLISHED} -j RETURN"
        if self._family == 6:
            yield from (f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in NEIGHBOURS)
        yield from self._by_group(self._place.inward)
        for server in self._resolvers:
            yield from (f"{_to(server, protocol)} -j RETURN" for protocol in PROTOCOLS)
        for interface, policy in self._installations():
            ports = ",".join(map(str, policy.ports))
            yield f"-i {interface} -p tcp -m multiport --dports {ports} -j RETURN"
        yield f"-j {self._block}"

    def _outward(self) -> Iterator[str]:
        """From previews anywhere else. Docker redirects ports that it publishes before this, so that what was
        asked for is the original destination. What is accepted passes Docker's own rules, which stop
        whatever goes to another of its networks."""
        yield f"{ESTABLISHED} -j ACCEPT"
        yield "-m physdev --physdev-is-bridged -j RETURN"
        yield from self._by_group(self._place.outward)
        for server in self._resolvers:
            asked = (_asked_for(protocol, DNS, server.address) for protocol in PROTOCOLS)
            yield from (f"{match} -j ACCEPT" for match in asked)
        for interface, policy in self._installations():
            asked = (_asked_for("tcp", port) for port in policy.ports)
            yield from (f"-i {interface} {match} -j ACCEPT" for match in asked)
        yield f"-m conntrack --ctstate DNAT -j {self._block}"
        yield from (f"-o {interface} -j {self._block}" for interface in self._place.interfaces)
        for server in self._resolvers:
            yield from (f"{_to(server, protocol)} -j RETURN" for protocol in PROTOCOLS)
        yield from (f"-d {net} -j {self._block}" for net in METADATA[self._family])
        yield from (f"-i {interface} -j {self._private}" for interface in self._place.untrusted)
        for group in self._groups:
            if group.egress == "internet":
                trusted = (name for name in group.bridges if name.startswith(TRUSTED))
                yield from (f"-i {name} -j {self._private}" for name in trusted)

    def _by_group(self, chain: str) -> Iterator[str]:
        for number, group in enumerate(self._groups):
            yield from (f"-i {name} -j {chain}-{number}" for name in group.bridges)

    def _inward_of(self, group: Group) -> Iterator[str]:
        for allowed in self._mine(group.allow):
            yield from (f"{_to(allowed, protocol)} -j ACCEPT" for protocol in PROTOCOLS)
        if group.egress == "none":
            yield f"-j {self._block}"

    def _outward_of(self, group: Group) -> Iterator[str]:
        for allowed in self._mine(group.allow):
            for protocol in PROTOCOLS:
                yield f"{_to(allowed, protocol)} -j ACCEPT"
                yield f"{_asked_for(protocol, allowed.port, allowed.address)} -j ACCEPT"
        if group.egress == "none":
            yield f"-j {self._block}"

    def _blocked(self) -> Iterator[str]:
        """Rejected, so that nobody waits, and logged: at most five a second of each preview."""
        yield "-m addrtype --dst-type MULTICAST -j DROP"
        if self._family == 4:
            yield "-m addrtype --dst-type BROADCAST -j DROP"
        if self._place.log_group:
            source = "--hashlimit-mode srcip" + (" --hashlimit-srcmask 64" if self._family == 6 else "")
            name = f"{self._place.chains.lower()[:12]}{self._family}"
            yield (
                f"-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 20 {source} --hashlimit-name {name}"
                f" -j NFLOG --nflog-group {self._place.log_group}"
            )
        yield "-p tcp -j REJECT --reject-with tcp-reset"
        kind = "icmp-port-unreachable" if self._family == 4 else "icmp6-port-unreachable"
        yield f"-j REJECT --reject-with {kind}"

    def _installations(self) -> Iterator[tuple[str, Policy]]:
        for policy in self._policies:
            if policy.ports:
                yield f"{TRUSTED}{policy.tag}+", policy
                yield f"{UNTRUSTED}{policy.tag}+", policy

    def _mine(self, allow: Iterable[Allowed]) -> Iterator[Allowed]:
        return (allowed for allowed in allow if self._is_mine(allowed.address))

    def _is_mine(self, address: str) -> bool:
        return ip_address(address).version == self._family


def _to(allowed: Allowed, protocol: str) -> str:
    return f"-d {allowed.address} -p {protocol} -m {protocol} --dport {allowed.port}"


def _asked_for(protocol: str, port: int, address: str = "") -> str:
    """What was sent there before it was redirected."""
    where = f" --ctorigdst {address}" if address else ""
    return f"-p {protocol} -m conntrack --ctstate DNAT{where} --ctorigdstport {port}"
