"""The configuration as a whole. One field is one setting: its type, its default and its description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stager.domain.application import Applications
from stager.settings.loading.context import Context, FolderPath, NameOf, OptionalPath
from stager.settings.loading.refusals import Unfit, refuse
from stager.settings.sections.forges import LocalForge, with_listeners
from stager.settings.sections.forks import Forks, ForksSection
from stager.settings.sections.identity import People, Sessions
from stager.settings.sections.images import App, Tuning, check_names
from stager.settings.values.network import (
    Address,
    Domain,
    Listen,
    Network,
    NetworkV4,
    PortRange,
    Ports,
    Url,
    check_template,
)
from stager.settings.values.scalars import (
    NOT_TRUTH,
    POSITIVE,
    Duration,
    Login,
    Size,
    User,
    Words,
    one_or_many,
)
from stager.settings.values.secret import Secret
from stager.settings.values.section import Section

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_ENGINE = re.compile(r"(unix:///|tcp://|https?://)\S")
HANDOVER_SOCKET = Path("front", "handover.sock")
LONGEST_SOCKET_PATH = 100
"""Unix allows 107 bytes on Linux and 103 on macOS."""

SHORTEST_MEMORY = 3600.0
"""Seconds: removing what runs may take a while, and until then it must be known."""

DEFAULT_NETWORKS: tuple[Any, ...] = ("127.0.0.0/8", "::1/128")
_ONE_OR_MANY = BeforeValidator(one_or_many, json_schema_input_type=str | list[str])


class Tls(Section):
    """HTTPS with certificate files."""

    listen: Listen
    """Where to listen for HTTPS, such as `0.0.0.0:443`."""

    certificate: FolderPath
    """The certificate with its chain, in PEM form. It should be a wildcard one."""

    key: FolderPath
    """The certificate's private key, in PEM form."""


class Nginx(Section):
    """How nginx, standing before Stager's front, is told about previews. Without `target_dir` it isn't told
    anything: one server for all of them, which `stager nginx config` prints, never has to change."""

    target_dir: OptionalPath = None
    """The folder into which a vhost file for each preview goes, such as `/etc/nginx/sites-enabled`."""

    template_path: OptionalPath = None
    """The template of a vhost file, in Jinja, or in the first Stager's form if it ends with `.erb`. If there
    is no such file, Stager's own of that name. By default Stager's own."""

    test_command: Words = ("nginx", "-t")
    """What has nginx test all of its files. Empty: nothing."""

    reload_command: Words = ("nginx", "-s", "reload")
    """What makes nginx read its files again. Empty: nothing."""

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


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AppId = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | int)]
"""A number mostly, which YAML reads as one."""
_MERGED = BeforeValidator(_merged, json_schema_input_type=Nginx | list[dict[str, str | list[str]]])


class Credentials(Section):
    """A user and a password, which only make sense together."""

    user: str = ""
    """The user's name."""

    password: Secret = Secret()
    """The password or token."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if bool(self.user) != bool(self.password):
            missing = "password" if self.user else "user"
            refuse(((missing,), "is required, because its other half is given"))
        return self


class IncomingAuth(Credentials):
    """What proves that a delivery comes from GitHub."""

    hook_secret: Secret = Secret()
    """The webhook's secret, by which GitHub signs deliveries. Without it every delivery is refused."""

    allow_sha1: bool = False
    """Whether deliveries that are signed with SHA-1 only are accepted. GitHub signs with SHA-256 as well; an
    old GitHub Enterprise Server may not."""


class OutgoingAuth(Credentials):
    """As whom Stager talks to GitHub: to comment, and to see which pull requests are open."""


class GitHub(Section):
    """How Stager and GitHub know each other."""

    incoming_auth: IncomingAuth = IncomingAuth()
    """Credentials that a webhook's calls must bring."""

    outgoing_auth: OutgoingAuth = OutgoingAuth()
    """Credentials for calls to GitHub's API."""

    app_id: AppId = ""
    """The id of a GitHub App, as which Stager then talks to GitHub, instead of `outgoing_auth`. An App that
    was made at `/setup/github` needs no entry here."""

    private_key: Secret = Secret()
    """The App's private key: the whole PEM file, best as `file:/path`."""

    client_id: str = ""
    """The OAuth application's id, for signing in with GitHub."""

    client_secret: Secret = Secret()
    """The OAuth application's secret. It never leaves the server."""

    scope: str = "repo"
    """What an OAuth application asks for of whoever signs in: `repo`, because GitHub says of private
    repositories to nobody else who may push. With public ones only, `read:user` will do. An App has
    permissions of its own."""

    api_url: Url = "https://api.github.com"
    """GitHub's API; another for GitHub Enterprise Server."""

    web_url: Url = "https://github.com"
    """GitHub's pages; another for GitHub Enterprise Server."""

    comments: bool | None = None
    """Whether each pull request gets one comment that is kept up to date. If it isn't given: when
    `AddGithubPullRequestCommentOnLaunch` is among the `post_launch_handlers`."""

    deployments: bool = True
    """Whether each preview is shown as a deployment of its pull request."""

    statuses: bool = True
    """Whether the newest commit of each pull request bears a status `stager/APP` that says how its preview
    stands."""

    @model_validator(mode="after")
    def _client_has_both(self) -> Self:
        if bool(self.client_id) != bool(self.client_secret):
            missing = "client_secret" if self.client_id else "client_id"
            refuse(((missing,), "is required, because its other half is given"))
        return self

    @model_validator(mode="after")
    def _app_has_both(self) -> Self:
        if bool(self.app_id) != bool(self.private_key):
            missing = "private_key" if self.app_id else "app_id"
            refuse(((missing,), "is required, because its other half is given"))
        return self


class Builds(Section):
    """How images are built, for all applications with `build`."""

    at_once: Annotated[int, Field(ge=1), NOT_TRUTH] = 2
    """How many builds may run at once; the others wait in line."""

    disk_floor: Size = 2 << 30
    """How much must be free on Docker's disk for a build to begin."""

    cache: Size | None = None
    """How much of BuildKit's cache is kept. Without it Docker's cache is left alone, which isn't Stager's
    own."""

    cgroup_parent: str = ""
    """The control group that builds run in, where the engine's builder can; it bounds their memory and
    processor time."""

    largest_source: Annotated[Size, POSITIVE] = 1 << 30
    """How large a commit may be, fetched and checked out."""

    submodules: bool = True
    """Whether submodules are fetched, from the same host as the repository; from the same folder with
    `local_forge`. Their folders stay empty otherwise."""

    fetch_timeout: Annotated[Duration, POSITIVE] = 300.0
    """How long fetching a commit may take."""


class Networks(Section):
    """The addresses that instances get. Each preview has a network of its own."""

    pool: NetworkV4 = Field(default="10.200.0.0/14", validate_default=True)
    """The network that previews' networks are taken from. It must not overlap a route of the host."""

    size: Annotated[int, Field(ge=8, le=29), NOT_TRUTH] = 28
    """The prefix length of a preview's network: 28 leaves 13 addresses for its instances."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.size < self.pool.prefixlen:
            refuse((("size",), f"should be {self.pool.prefixlen} at least, to fit into the pool {self.pool}"))
        return self


class Engine(Section):
    """Where instances run."""

    socket: str = ""
    """Docker's address: `unix://`, `tcp://`, `http://` or `https://`. If empty, that of the environment
    variable `DOCKER_HOST`, and without one `unix:///var/run/docker.sock`."""

    reach: Literal["auto", "address", "loopback"] = "auto"
    """How instances are reached: by their own address, by a port published on the loopback interface, or
    whichever works."""

    @field_validator("socket")
    @classmethod
    def _address(cls, socket: str) -> str:
        if socket and not _ENGINE.match(socket):
            raise Unfit(f'should be an address such as "{DEFAULT_ENGINE}"')
        return socket

    def settled(self, environ: Mapping[str, str]) -> Self:
        """This engine with its address settled. Raises ValueError when the environment's is of no use."""
        default = environ.get("DOCKER_HOST", "") or DEFAULT_ENGINE
        if not self.socket and not _ENGINE.match(default):
            raise ValueError(
                f"can't be reached by the variable DOCKER_HOST, which is {default}; give `socket`"
            )
        return self.model_copy(update={"socket": self.socket or default})


def _is_over_by_then(seconds: float) -> float:
    if seconds < SHORTEST_MEMORY:
        raise Unfit('should be "1h" at least')
    return seconds


class Metrics(Section):
    """Who may read `/metrics`."""

    allow: tuple[Network, ...] = ()
    """Networks from which `/metrics` is read without credentials, such as `127.0.0.0/8` for a Prometheus on
    this machine. Behind a proxy it is the client's address that counts, as far as the proxy forwards it."""


class Handlers(Section):
    """Settings of pluggable classes, each under the name of its class."""

    stranger: ClassVar = "here stand the names of classes that have settings"


class Settings(Section):
    """All that can be said in `config.yml`. Everything has a default: Stager starts without any."""

    misplaced: ClassVar = {
        **dict.fromkeys(Tuning.model_fields, "belongs under `defaults`, or under one of the `images`"),
        "haproxy": "isn't available in this version; EmbeddedRoutingStrategy serves without HAProxy",
    }

    domain: Domain = ""
    """The domain under which previews live, as typed into a browser, with the port if that isn't the scheme's
    own: `demo.stager.io`, `localhost:8000`. If empty, it is learned from the first authenticated request."""

    preview_domain: Domain = ""
    """The domain of previews where it isn't Stager's own, so that they can't reach each other's cookies."""

    scheme: Literal["http", "https"] = "http"
    """What previews' URLs begin with."""

    host_template: str = "{slug}.{domain}"
    """How a preview's host is made of `{slug}`, `{app}` and `{domain}`."""

    listen: Listen = Address("127.0.0.1", 8000)
    """Where to listen for HTTP, for previews and Stager's own pages alike."""

    tls: Tls | None = None
    """Where to listen for HTTPS besides, and with which certificate."""

    trusted_proxies: tuple[Network, ...] = Field(default=DEFAULT_NETWORKS, validate_default=True)
    """Networks from which `X-Forwarded-*` headers are believed, because a proxy of ours stands there. An
    empty list believes nobody, not even this machine."""

    state_dir: FolderPath = Field(default=Path(".stager"), validate_default=True)
    """Where Stager keeps everything that it writes. Starts from the configuration file's folder."""

    defaults: Tuning = Tuning()
    """Limits, patience and privacy for all applications that don't say otherwise."""

    images: dict[str, App] = Field(default_factory=dict)
    """The applications, each by its name."""

    routing_strategy: Annotated[str, NameOf("routing_strategy")] = "EmbeddedRoutingStrategy"
    """How requests reach previews: `EmbeddedRoutingStrategy` (short: `embedded`) or `NginxRoutingStrategy`
    (`nginx`)."""

    nginx: Annotated[Nginx, _MERGED] = Nginx()
    """Settings of `NginxRoutingStrategy`; a mapping, or a list of mappings with one key each."""

    ports: Ports = Field(default=PortRange(3200, 3500), validate_default=True)
    """Ports of the loopback interface, of which each preview with a vhost file has one. The environment
    variables `MIN_PORT` and `MAX_PORT` go before it."""

    authentication_strategy: Annotated[
        tuple[Annotated[str, NameOf("authentication_strategy")], ...], _ONE_OR_MANY
    ] = ()
    """How Stager knows who sends a direct request: `BasicAuthentication` (short: `basic`),
    `GithubAuthentication` (`github`), `OpenIDConnectAuthentication` (`oidc`). Without any, every direct
    request is refused."""

    users: tuple[Login, ...] = ()
    """Who may sign in with `BasicAuthentication`. A hash that `stager hash-password` makes may stand in a
    password's place."""

    roles: People = Field(default_factory=dict)
    """Who may do what, by `strategy:name`, such as `github:ann: administrator`; a role is `none`, `viewer`,
    `developer` or `administrator`. Whoever isn't listed has the role that the strategy gives: everything with
    `BasicAuthentication`, by their rights in the repository with `GithubAuthentication`, by their groups with
    `OpenIDConnectAuthentication`."""

    sessions: Sessions = Sessions()
    """How long whoever signs in stays signed in."""

    event_listeners: Annotated[tuple[Annotated[str, NameOf("event_listeners")], ...], _ONE_OR_MANY] = ()
    """What listens to events, in this order; the first that takes an event has it. With `local_forge`, by
    default the two that make previews of changes; an empty list has none."""

    pre_launch_handlers: Annotated[
        tuple[Annotated[str, NameOf("pre_launch_handlers")], ...], _ONE_OR_MANY
    ] = ()
    """What may amend or refuse a launch."""

    post_launch_handlers: Annotated[
        tuple[Annotated[str, NameOf("post_launch_handlers")], ...], _ONE_OR_MANY
    ] = ()
    """What happens after a launch."""

    pre_kill_handlers: Annotated[tuple[Annotated[str, NameOf("pre_kill_handlers")], ...], _ONE_OR_MANY] = ()
    """What happens before a preview is removed."""

    handlers: Handlers = Handlers()
    """Settings of handlers and strategies, each under the name of its class."""

    max_previews: Annotated[int | None, Field(ge=1, validate_default=True), NOT_TRUTH] = None
    """How many previews may be there at once; one more makes the oldest go. If it isn't given, as many as the
    environment variables `MIN_PORT` and `MAX_PORT` leave room for, and without these any number."""

    container_rotation_strategy: Annotated[
        tuple[Annotated[str, NameOf("container_rotation_strategy")], ...],
        _ONE_OR_MANY,
        Field(max_length=1),
    ] = ()
    """Which preview makes room for another when there are `max_previews`; the oldest if empty."""

    github: GitHub = GitHub()
    """How Stager and GitHub know each other."""

    local_forge: LocalForge = Field(default_factory=dict)
    """Bare repositories on this machine, in which every branch but the default one becomes a preview, without
    any account: paths by the names of applications, or one folder in which each application without
    `repo_owner` has its repository, `NAME.git`. What isn't there yet is made."""

    network: Networks = Networks()
    """The addresses that instances get."""

    builds: Builds = Builds()
    """How images are built."""

    forks: ForksSection = Forks()
    """How code from forks is built."""

    engine: Engine = Field(default=Engine(), validate_default=True)
    """Where instances run."""

    helper: Literal["auto", "required", "off"] = "auto"
    """Whether the root helper is used, which keeps previews from the machine and from private networks.
    `auto`: where its socket is there; once it was used, Stager doesn't start without it. `required`: Stager
    never starts without it. `off`: nothing is guarded."""

    helper_socket: Annotated[FolderPath, Field(validate_default=True)] = Path("/run/stager/helper.sock")
    """Where the root helper listens."""

    resync_every: Annotated[Duration, POSITIVE] = 300.0
    """How often the forge is asked which changes are open, to heal what webhooks missed."""

    pass_every: Annotated[Duration, POSITIVE] = 60.0
    """How often everything is looked at and put right, besides when something happens."""

    keep_gone_for: Annotated[Duration, AfterValidator(_is_over_by_then)] = 30 * 86_400.0
    """How long removed previews and their logs are remembered; an hour at least, so that they are surely
    gone by then."""

    response_timeout: Annotated[Duration, POSITIVE] = 60.0
    """How long an application may take to begin its answer once it has the whole request; then the visitor
    gets a page with status 504. It limits neither answers that have begun nor open WebSockets."""

    access_log: bool = True
    """Whether each request to a preview is logged."""

    metrics: Metrics = Metrics()
    """Who may read `/metrics`, besides those with credentials."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How Stager logs: `json` is one object a line, `auto` is text on a terminal and json elsewhere."""

    @property
    def applications(self) -> Applications:
        """The entries of `images` as the domain's applications."""
        shares = self.forks.unsafe_shared_builder
        return Applications(
            {
                name: app.application(name, is_local=name in self.local_forge, shares_builder=shares)
                for name, app in self.images.items()
            }
        )

    @property
    def previews(self) -> str:
        """The domain that previews live under; empty while none is set."""
        return self.preview_domain or self.domain

    @property
    def builds_forks(self) -> bool:
        """Whether code from forks is to be built, of one application at least."""
        return any(app.build and app.forks != "off" for app in self.images.values())

    @property
    def comments(self) -> bool:
        """Whether pull requests get a comment."""
        by_handler = "AddGithubPullRequestCommentOnLaunch" in self.post_launch_handlers
        return by_handler if self.github.comments is None else self.github.comments

    @model_validator(mode="before")
    @classmethod
    def _listeners_of_local_changes(cls, data: Any) -> Any:
        return with_listeners(data)

    @field_validator("ports")
    @classmethod
    def _ports_of_environment(cls, ports: PortRange, info: ValidationInfo) -> PortRange:
        return ports.within(Context.of(info).environ)

    @field_validator("host_template")
    @classmethod
    def _makes_hosts(cls, template: str) -> str:
        check_template(template)
        return template

    @field_validator("state_dir")
    @classmethod
    def _room_for_socket(cls, folder: Path) -> Path:
        length = len(bytes(folder / HANDOVER_SOCKET))
        if length > LONGEST_SOCKET_PATH:
            raise ValueError(
                f"is too long by {length - LONGEST_SOCKET_PATH} bytes for the sockets that go there"
                f" ({folder}); choose a shorter path"
            )
        return folder

    @field_validator("images")
    @classmethod
    def _settled(cls, images: dict[str, App], info: ValidationInfo) -> dict[str, App]:
        check_names(images)
        defaults = info.data.get("defaults", Tuning())
        return {key: app.over(defaults).named(key) for key, app in images.items()}

    @field_validator("users")
    @classmethod
    def _each_once(cls, users: tuple[User, ...]) -> tuple[User, ...]:
        names = [user.name for user in users]
        twice = [i for i, name in enumerate(names) if name in names[:i]]
        if twice:
            refuse(*(((i,), "has the name of an earlier user") for i in twice))
        return users

    @field_validator("max_previews")
    @classmethod
    def _as_many_as_ports(cls, count: int | None, info: ValidationInfo) -> int | None:
        environ = Context.of(info).environ
        counts = any(environ.get(name) for name in ("MIN_PORT", "MAX_PORT"))
        if count is None and counts and "ports" in info.data:
            return len(tuple(info.data["ports"]))
        return count

    @field_validator("engine")
    @classmethod
    def _reachable(cls, engine: Engine, info: ValidationInfo) -> Engine:
        return engine.settled(Context.of(info).environ)
