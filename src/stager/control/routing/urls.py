"""URLs and hosts of previews. The domain is configured, or learned from the first authenticated request."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from stager.domain import names
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.route import normalise_host
from stager.domain.source import Trust
from stager.ports.store import Store, Transaction

DOMAIN_FACT = "domain"


class Urls:
    """Builds URLs.

    Args:
        domain: from the settings, with the port unless it is the scheme's default; empty: learned.
        preview_domain: a separate domain for previews; empty: the same.
        fallback: host and port where Stager listens, used until a domain is known.
        template: of hosts, with `{slug}`, `{app}` and `{domain}`.
        slugs: the rule that makes the slug of a name.
    """

    def __init__(
        self,
        store: Store,
        *,
        domain: str = "",
        preview_domain: str = "",
        fallback: str = "localhost:8000",
        scheme: str = "http",
        template: str = "{slug}.{domain}",
        slugs: names.SlugRule = "standard",
    ) -> None:
        self._store = store
        self._configured = domain
        self._preview_domain = preview_domain
        self._learned = ""
        self._fallback = fallback
        self._template = template
        self._slugs = slugs
        self.scheme = scheme

    async def load(self) -> None:
        """Load the domain that was learned earlier."""
        self._learned = await self._store.read(lambda tx: tx.fact(DOMAIN_FACT))

    async def learn(self, authority: str) -> bool:
        """Use the Host of an authenticated request as the domain, if none is known yet.

        Args:
            authority: host and port, as in the request.

        Returns:
            Whether this has set the domain.
        """
        if self._configured or self._learned:
            return False
        domain = _as_domain(authority)
        if not domain:
            return False
        self._learned = await self._store.write(lambda tx: _first(tx, domain))
        return True

    @property
    def is_known(self) -> bool:
        """Whether the domain was configured or learned."""
        return bool(self._configured or self._learned)

    @property
    def authority(self) -> str:
        """The domain of the previews, with its port."""
        return self._preview_domain or self._configured or self._learned or self._fallback

    @property
    def domain(self) -> str:
        """The domain of the previews, without port."""
        return normalise_host(self.authority)

    @property
    def home(self) -> str:
        """The URL of Stager's own pages."""
        return f"{self.scheme}://{self._configured or self._learned or self._fallback}"

    @property
    def is_https(self) -> bool:
        """Whether Stager's own pages are served over HTTPS only, so that their cookies can be `Secure`."""
        return self.home.startswith("https:")

    @property
    def previews(self) -> str:
        """The URLs of all previews, as a source expression of a Content-Security-Policy."""
        return f"{self.scheme}://*.{self.authority}"

    @property
    def is_local(self) -> bool:
        """Whether the host of Stager's own pages is a name of this machine only."""
        host = urlsplit(self.home).hostname or ""
        return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")

    def page(self, environment_id: str) -> str:
        """The URL of Stager's page about an environment; empty while the domain isn't known."""
        return f"{self.home}/previews/{environment_id}" if self.is_known else ""

    def url(self, host: str) -> str:
        """The URL of a preview's host."""
        _, colon, port = self.authority.rpartition(":")
        return (
            f"{self.scheme}://{host}{colon}{port}" if colon and port.isdigit() else f"{self.scheme}://{host}"
        )

    def allot(self, tx: Transaction, key: EnvironmentKey, name: str, trust: Trust) -> str:
        """A host for this environment that no other present environment has.

        Args:
            trust: an environment from a fork always gets a host with a hash. Otherwise a fork could take the
                host of a branch by using the same name.
        """
        host = ""
        hosts = self._hosts(key, name, self._slugs)
        for host in hosts[-1:] if trust is Trust.FORK else hosts:
            if is_free(tx, host, key):
                return host
        return host  # the last one contains a hash of the key, so it is unique

    def allot_to_services(
        self, tx: Transaction, environment: Environment, services: Iterable[str]
    ) -> dict[str, str]:
        """A host for each of these services of an environment, by name. They have the level of the
        environment's own host, so that one wildcard covers both."""
        label, _, rest = environment.host.partition(".")
        hosts: dict[str, str] = {}
        for service in services:
            candidates = [f"{each}.{rest}" for each in names.service_labels(service, label)]
            free = (h for h in candidates if h not in hosts.values() and is_free(tx, h, environment.key))
            hosts[service] = next(free, candidates[-1])
        return hosts

    def fits(self, host: str, key: EnvironmentKey, name: str) -> bool:
        """Whether the current domain and template could give this host to the environment, by any rule for
        slugs: a host stays when the rule is changed."""
        return any(host in self._hosts(key, name, rule) for rule in names.SLUG_RULES)

    def _hosts(self, key: EnvironmentKey, name: str, rule: names.SlugRule) -> list[str]:
        """The possible hosts of an environment, the preferred one first."""
        app, room = names.host_parts(self._template, key.app, rule)
        labels = names.labels(name, app=key.app, key=str(key), room=room, rule=rule)
        return [self._template.format(slug=label, app=app, domain=self.domain) for label in labels]


def hosts_of(tx: Transaction, environment: Environment) -> dict[str, str]:
    """The services of an environment by host; its own host has an empty name. Hosts that belong to another
    environment by now are left out."""
    hosts = {environment.host: "", **{h: s for s, h in tx.service_hosts(environment.id).items()}}
    holders = {host: tx.environment_by_host(host) for host in hosts}
    return {host: hosts[host] for host, holder in holders.items() if holder and holder.id == environment.id}


def is_free(tx: Transaction, host: str, key: EnvironmentKey) -> bool:
    """Whether the environment with this key may have the host: no other present one has it."""
    holder = tx.environment_by_host(host)
    return holder is None or holder.key == key or not holder.desired.is_present


def _first(tx: Transaction, domain: str) -> str:
    known = tx.fact(DOMAIN_FACT)
    if not known:
        tx.save_fact(DOMAIN_FACT, domain)
    return known or domain


def _as_domain(authority: str) -> str:
    """The domain for subdomains from a Host header: the name; `localhost` for a loopback address; empty for
    any other address, which can't have subdomains."""
    host = normalise_host(authority)
    try:
        address = ip_address(host)
    except ValueError:
        return authority.lower()
    if not address.is_loopback:
        return ""
    port = authority.rpartition(":")[2]
    return f"localhost:{port}" if port.isdigit() and not authority.endswith("]") else "localhost"
