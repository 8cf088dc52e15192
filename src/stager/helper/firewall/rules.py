"""The firewall's rules: computes the chains of one address family from policies. No I/O.

A chain is a list of rules in the form of `iptables -A CHAIN`. Previews are distinguished by `-i` and `-o`
only, so a preview can't bypass the rules with a forged source address.
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
"""Blocked for all previews: link-local addresses (RFC 3927, RFC 4291), at which most clouds have their
metadata services, and the other metadata addresses of Alibaba, Azure, Oracle, AWS and Google."""

PRIVATE = {
    4: (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "100.64.0.0/10",  # RFC 6598: carriers and overlay networks
        "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",  # RFC 6890: not public
    ),
    6: ("fc00::/7", "fec0::/10", "64:ff9b:1::/48"),  # RFC 4193, RFC 3879, RFC 8215
}  # fmt: skip

ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED"
PROTOCOLS = ("tcp", "udp")
DNS = 53
NEIGHBOURS = (133, 135, 136)
"""ICMPv6 types that IPv6 requires on a link (RFC 4861): router and neighbour solicitation, neighbour
advertisement."""


@dataclass(frozen=True, slots=True)
class FirewallOptions:
    """What root has set on the command line.

    Args:
        chains: the prefix of the names of our chains.
        tag: the tag of the only installation whose bridges are protected; empty for all.
        builder: the network interface of the untrusted builder.
        log_group: the NFLOG group, 0 for no log.
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
        """All protected interfaces, in the form of `-i`."""
        prefixes = [f"{TRUSTED}{self.tag}+", f"{UNTRUSTED}{self.tag}+"]
        covered = any(self.builder.startswith(prefix[:-1]) for prefix in prefixes)
        return prefixes if covered else [*prefixes, self.builder]

    @property
    def untrusted(self) -> list[str]:
        """The interfaces of code from forks."""
        return [interface for interface in self.interfaces if interface.startswith(UNTRUSTED)]


def chains_of(
    options: FirewallOptions, policies: Sequence[Policy], resolvers: Sequence[str], family: int
) -> Chains:
    """Return all chains of one address family.

    Args:
        options: the command line's.
        policies: those of all installations.
        resolvers: the name servers that the engine uses; those of the other family are ignored.
        family: 4 or 6.
    """
    return _ChainBuilder(options, policies, resolvers, family).chains()


class _ChainBuilder:
    """Builds the chains; see `chains_of`."""

    def __init__(
        self, options: FirewallOptions, policies: Sequence[Policy], resolvers: Sequence[str], family: int
    ) -> None:
        self._options, self._policies, self._family = options, policies, family
        self._resolvers = [Allowed(address, DNS) for address in resolvers if self._is_of_family(address)]
        self._inside = f"{options.inward}-PV"
        self._outside = f"{options.outward}-PV"
        self._private = f"{options.chains}-PRIVATE"
        self._block = f"{options.chains}-BLOCK"
        self._groups = [group for policy in policies for group in policy.groups]
        builder = tuple(allowed for policy in policies for allowed in policy.builder_allow)
        if builder:
            self._groups.append(Group("internet", builder, (options.builder,)))

    def chains(self) -> Chains:
        options, block = self._options, self._block
        chains = {
            block: list(self._blocked()),
            self._private: [f"-d {net} -j {block}" for net in PRIVATE[self._family]],
            self._inside: list(self._inward()),
            self._outside: list(self._outward()),
            options.inward: [f"-i {interface} -j {self._inside}" for interface in options.interfaces],
            options.outward: [
                *(f"-o {interface} {ESTABLISHED} -j ACCEPT" for interface in options.interfaces),
                *(f"-i {interface} -j {self._outside}" for interface in options.interfaces),
                # Docker doesn't know this interface, so no rule of Docker's accepts its packets.
                f"-i {options.builder} -j ACCEPT",
            ],
        }
        for number, group in enumerate(self._groups):
            chains[f"{options.inward}-{number}"] = list(self._inward_of(group))
            chains[f"{options.outward}-{number}"] = list(self._outward_of(group))
        return chains

    def _inward(self) -> Iterator[str]:
        """Yield the rules for packets from previews to the machine itself. Returned packets are subject to
        the machine's own rules; exceptions are accepted here."""
        yield f"{ESTABLISHED} -j RETURN"
        if self._family == 6:
            yield from (f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} -j RETURN" for kind in NEIGHBOURS)
        yield from self._by_group(self._options.inward)
        for server in self._resolvers:
            yield from (f"{_to(server, protocol)} -j RETURN" for protocol in PROTOCOLS)
        for interface, policy in self._installations():
            ports = ",".join(map(str, policy.ports))
            yield f"-i {interface} -p tcp -m multiport --dports {ports} -j RETURN"
        yield f"-j {self._block}"

    def _outward(self) -> Iterator[str]:
        """Yield the rules for packets from previews to any other destination. Docker redirects published
        ports before these rules, so they match the original destination. Accepted packets bypass Docker's own
        rules, which block packets between its networks."""
        yield f"{ESTABLISHED} -j ACCEPT"
        yield "-m physdev --physdev-is-bridged -j RETURN"
        yield from self._by_group(self._options.outward)
        for server in self._resolvers:
            redirected = (_redirected_from(protocol, DNS, server.address) for protocol in PROTOCOLS)
            yield from (f"{match} -j ACCEPT" for match in redirected)
        for interface, policy in self._installations():
            redirected = (_redirected_from("tcp", port) for port in policy.ports)
            yield from (f"-i {interface} {match} -j ACCEPT" for match in redirected)
        yield f"-m conntrack --ctstate DNAT -j {self._block}"
        yield from (f"-o {interface} -j {self._block}" for interface in self._options.interfaces)
        for server in self._resolvers:
            yield from (f"{_to(server, protocol)} -j RETURN" for protocol in PROTOCOLS)
        yield from (f"-d {net} -j {self._block}" for net in METADATA[self._family])
        yield from (f"-i {interface} -j {self._private}" for interface in self._options.untrusted)
        for group in self._groups:
            if group.egress == "internet":
                trusted = (name for name in group.bridges if name.startswith(TRUSTED))
                yield from (f"-i {name} -j {self._private}" for name in trusted)

    def _by_group(self, chain: str) -> Iterator[str]:
        for number, group in enumerate(self._groups):
            yield from (f"-i {name} -j {chain}-{number}" for name in group.bridges)

    def _inward_of(self, group: Group) -> Iterator[str]:
        for allowed in self._of_family(group.allow):
            yield from (f"{_to(allowed, protocol)} -j ACCEPT" for protocol in PROTOCOLS)
        if group.egress == "none":
            yield f"-j {self._block}"

    def _outward_of(self, group: Group) -> Iterator[str]:
        for allowed in self._of_family(group.allow):
            for protocol in PROTOCOLS:
                yield f"{_to(allowed, protocol)} -j ACCEPT"
                yield f"{_redirected_from(protocol, allowed.port, allowed.address)} -j ACCEPT"
        if group.egress == "none":
            yield f"-j {self._block}"

    def _blocked(self) -> Iterator[str]:
        """Yield the rules that log and reject a packet: rejected, so that the sender doesn't wait for a
        timeout, and logged at most five times a second per preview."""
        yield "-m addrtype --dst-type MULTICAST -j DROP"
        if self._family == 4:
            yield "-m addrtype --dst-type BROADCAST -j DROP"
        if self._options.log_group:
            source = "--hashlimit-mode srcip" + (" --hashlimit-srcmask 64" if self._family == 6 else "")
            name = f"{self._options.chains.lower()[:12]}{self._family}"
            yield (
                f"-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 20 {source} --hashlimit-name {name}"
                f" -j NFLOG --nflog-group {self._options.log_group}"
            )
        yield "-p tcp -j REJECT --reject-with tcp-reset"
        kind = "icmp-port-unreachable" if self._family == 4 else "icmp6-port-unreachable"
        yield f"-j REJECT --reject-with {kind}"

    def _installations(self) -> Iterator[tuple[str, Policy]]:
        for policy in self._policies:
            if policy.ports:
                yield f"{TRUSTED}{policy.tag}+", policy
                yield f"{UNTRUSTED}{policy.tag}+", policy

    def _of_family(self, allow: Iterable[Allowed]) -> Iterator[Allowed]:
        return (allowed for allowed in allow if self._is_of_family(allowed.address))

    def _is_of_family(self, address: str) -> bool:
        return ip_address(address).version == self._family


def _to(allowed: Allowed, protocol: str) -> str:
    return f"-d {allowed.address} -p {protocol} -m {protocol} --dport {allowed.port}"


def _redirected_from(protocol: str, port: int, address: str = "") -> str:
    """Match packets whose destination was this before Docker redirected them."""
    where = f" --ctorigdst {address}" if address else ""
    return f"-p {protocol} -m conntrack --ctstate DNAT{where} --ctorigdstport {port}"
