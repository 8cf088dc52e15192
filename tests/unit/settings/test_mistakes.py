"""Mistakes that people make in a configuration: each is answered with its line, its cause and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pytest

from stager.domain.errors import Fault
from stager.settings.repository_file import read_file
from stager.settings.sections.applications import RepositoryKey
from tests.unit.settings.conftest import LinesOf

TOKEN = "ghp_" + "a" * 36
USERS = "authentication_strategy: basic\nusers: ['ann:${PW}']\n"


@dataclass(frozen=True)
class Mistake:
    """A file, the line of its mistake, and texts of the answer: the cause, and what to write."""

    text: str
    line: int
    cause: str
    fix: str
    at: str = ""

    def is_answered_by(self, lines: Sequence[str]) -> bool:
        start = f"line {self.line}" if self.line else ""
        return any(
            line.startswith(start) and self.cause in line and self.fix in line and self.at in line
            for line in lines
        )


def app(*lines: str) -> str:
    """One application with these settings, the first of which is in line 3."""
    return "\n".join(["images:", "  shop:", *(f"    {line}" for line in lines), ""])


def swarm(*lines: str) -> str:
    """The engine `swarm`, and one application with these settings, the first of which is in line 4."""
    return "engine: {kind: swarm, registry: '10.0.0.1:5000'}\n" + app(*lines)


def services(*lines: str) -> str:
    """One application with these services, the first of which is in line 5."""
    return app("port: 80", "services:", *(f"  {line}" for line in lines))


ERRORS = [
    # keys
    Mistake(app("prot: 3000"), 3, "unknown key", 'did you mean "port"?', "images.shop.prot"),
    Mistake("imagse:\n  shop: {port: 80}\n", 1, "unknown key", 'did you mean "images"?'),
    Mistake("domain: x.io\nport: 3000\n", 2, "belongs under an entry of `images`", "images"),
    Mistake("# mine\nmemory: 1g\n", 2, "belongs under `defaults`", "under one of the `images`"),
    Mistake(app("port: 80", "RAILS_ENV: test"), 4, "unknown key", "goes under `env`"),
    Mistake(
        app("port: 80", "environment: {A: b}"), 4, "is called `env`", "write `env: {RAILS_ENV: staging}`"
    ),
    Mistake(app("port: 80", "dockerfile: a/Dockerfile"), 4, "belongs under `build`", "{dockerfile: PATH}"),
    Mistake(
        app("port: 80", "depends_on: [db]"), 4, "belongs to a service", "{web: {depends_on: [database]}}"
    ),
    Mistake(app("port: 80", "entrypoint: bin/x"), 4, "belongs to a service", "{web: {entrypoint:"),
    Mistake(
        app("port: 80", "database: postgres:16"), 4, "belongs under `services`", "{database: postgres:16}"
    ),
    Mistake(app('ports: ["3000:3000"]'), 3, "isn't needed", "write `port: 3000`"),
    Mistake(app("port: 80", "ttl: 3d"), 4, "isn't supported", "`max_previews`"),
    Mistake(
        app("port: 80", "healthcheck: /up"), 4, "is called `health_path`", "write `health_path: /health`"
    ),
    Mistake("github:\n  token: x\n", 2, "is called `outgoing_auth.password`", "${STAGER_GITHUB_TOKEN}"),
    Mistake("github:\n  webhook_secret: x\n", 2, "belongs under `incoming_auth`", "{hook_secret: "),
    Mistake("applications:\n  shop: {port: 80}\n", 1, "is called", "`images`"),
    Mistake("development:\n  images: {}\n", 1, "aren't supported", "move the settings to the top level"),
    # YAML
    Mistake("images:\n\tshop: {port: 80}\n", 2, "column 1", "indent with spaces, not with tabs"),
    Mistake(app("port: 80", "port: 81"), 3, "is given twice", "again at line 4"),
    Mistake("domain: *name\n", 1, "column 9", "undefined alias"),
    Mistake(" domain: x.io\nimages: {}\n", 2, "column 1", "remove the leading space"),
    # values
    Mistake(app('port: "abc"'), 3, "should be an integer", "such as 3000"),
    Mistake(app('port: "3000:3000"'), 3, "should be an integer", "such as 3000"),
    Mistake(app("command: x"), 2, "port: is required", "port"),
    Mistake(app("port: 80", "cpus: 500m"), 4, "should be a number", "such as 0.5"),
    Mistake(app("port: 80", "memory: 512Mi"), 4, "should be a size", 'such as "512m"'),
    Mistake(app("port: 80", "start_timeout: 5 minutes"), 4, "should be a duration", '"5m"'),
    Mistake(app("port: 80", "health_path: healthz"), 4, "should be a path", 'such as "/health"'),
    Mistake("listen: 80\n", 1, "should be host:port", '"0.0.0.0:80"'),
    Mistake("domain: https://x.io\n", 1, "without scheme and path", 'such as "demo.stager.io"'),
    Mistake("domain: '*.x.io'\n", 1, 'should be without "*."', 'such as "demo.stager.io"'),
    Mistake("event_listeners: [KillOnGithubPullRequestClose]\n", 1, "unknown name", "did you mean"),
    Mistake("authentication_strategy: basicauth\n", 1, "unknown name", 'did you mean "basic"?'),
    Mistake(app("port: 80", "private: login"), 4, 'not "login"', '"sign-in", "password" or "link"'),
    Mistake(
        app("port: 80", "env: {KEY: '${STRIPE_KEY}'}"),
        4,
        "STRIPE_KEY isn't set",
        "set it, or allow it with ${STRIPE_KEY:-}",
    ),
    Mistake(app("port: 80", "repo_owner: acme/shop"), 4, "is the owner alone", "write `repo: acme/shop`"),
    Mistake(app("port: 80", "repo: shop"), 4, "should be a repository", 'such as "acme/shop"'),
    Mistake(app("port: 80", "image: 'Shop Image'"), 4, "should be an image reference", 'such as "shop"'),
    Mistake("images:\n  Shop_App: {build: .}\n", 2, "should be lower-case", "`shop-app`"),
    Mistake("images:\n  my shop: {port: 80}\n", 2, "without spaces", "such as `my-shop`"),
    # shapes
    Mistake("users: {ann: x}\n", 1, "should be a list, not a mapping", 'write `users: ["ann:${'),
    Mistake("images: [shop]\n", 1, "should be a mapping, not a list", "write `images: {shop: {port: 3000}}`"),
    Mistake(app("port: 80", "env: [A=1]"), 4, "should be a mapping", "write `env: {RAILS_ENV: staging}`"),
    Mistake("images:\n  shop: 80\n", 2, "should be a mapping, not a number", "write `shop: {port: 3000}`"),
    Mistake("- images\n", 0, "should be a mapping, not a list", "write `images: "),
    # commands
    Mistake(
        app("port: 80", "command: npm start && node x"), 4, "`&&`", '["sh", "-c", "npm start && node x"]'
    ),
    Mistake(app("port: 80", "command: cat x | node y"), 4, "`|`", '["sh", "-c", "cat x | node y"]'),
    Mistake(app("port: 80", "command: node x > log"), 4, "`>`", '["sh", "-c", "node x > log"]'),
    Mistake(app("port: 80", "command: bin/migrate; node x"), 4, "`;`", '["sh", "-c", "bin/migrate; node x"]'),
    Mistake(app("port: 80", "command: serve -p $PORT"), 4, "`$PORT`", '["sh", "-c", "serve -p $PORT"]'),
    Mistake(app("port: 80", "command: A=1 serve"), 4, "a variable before", '["sh", "-c", "A=1 serve"]'),
    Mistake(app("port: 80", "command: 'a ${PW} && b'"), 4, "`&&`", '["sh", "-c", "..."]'),
    Mistake(app("port: 80", "hooks: {after_launch: a && b}"), 4, "`&&`", '["sh", "-c", "a && b"]'),
    # services
    Mistake(
        app("port: 80", "services: [db]"), 4, "should be a mapping, not a list", "{database: postgres:16}"
    ),
    Mistake(services("Db: postgres"), 5, "should have a name of lower-case letters", "such as `worker`"),
    Mistake(services("a_-b: postgres"), 5, "single dashes", "such as `worker`"),
    Mistake(services(f"{'a' * 41}: postgres"), 5, "at most 40 characters", "such as `worker`"),
    Mistake(
        services("worker: python x.py"), 5, "should be an image", "write `{command: ...}`", "worker.image"
    ),
    Mistake(services("db: [postgres]"), 5, "should be a mapping, not a list", "write `db: postgres:16`"),
    Mistake(
        services("worker: {}"), 5, "should have an image, a build or a command", "`{command: bin/worker}`"
    ),
    Mistake(services("worker: {env: {A: b}}"), 5, "should have an image", "`{build: FOLDER}`"),
    Mistake(
        services("db: {image: postgres, PG_USER: x}"), 5, "unknown key", "goes under `env`", "db.PG_USER"
    ),
    Mistake(services("db: {image: postgres, rooted: 1}"), 5, "unknown key", 'did you mean "routed"?'),
    Mistake(
        services("db: {image: x, environment: {A: b}}"), 5, "is called `env`", "`env: {POSTGRES_DB: shop}`"
    ),
    Mistake(services("db: {image: x, env: [A=b]}"), 5, "should be a mapping", "{POSTGRES_DB: shop}"),
    Mistake(services("db: {image: x, ports: ['80:80']}"), 5, "is called `routed`", "write `routed: 3000`"),
    Mistake(services("db: {image: x, port: 80}"), 5, "is called `routed`", "by its name"),
    Mistake(services("db: {image: x, routed: true}"), 5, "should be a number, not true", "db.routed"),
    Mistake(services("db: {image: x, routed: 80x}"), 5, "should be an integer", "such as 3000"),
    Mistake(services("db: {image: x, healthcheck: {}}"), 5, "is called `health`", "{command: [pg_isready]}"),
    Mistake(services("db: {image: x, health: up}"), 5, 'not "up"', 'a path such as "/up", a port, or "none"'),
    Mistake(services("db: {image: x, health: /up}"), 5, "needs `routed`", "`{port: 8080}`", "health.path"),
    Mistake(
        services("db: {image: x, health: {port: 1, command: y}}"), 5, "conflicts with `port`", "remove one"
    ),
    Mistake(services("db: {image: x, health: {test: y}}"), 5, "is called `command`", "[pg_isready]"),
    Mistake(services("db: {image: x, health: {retries: 3}}"), 5, "isn't supported", "until `start_timeout`"),
    Mistake(services("db: {image: x, health: {interval: 0}}"), 5, "should be more than 0", "health.interval"),
    Mistake(services("db: {image: x, build: .}"), 5, "conflicts with `build`", "remove one of them"),
    Mistake(services("a: {command: x, job: true, routed: 1}"), 5, "conflicts with `job`", "remove one"),
    Mistake(services("a: {command: x, job: true, health: 1}"), 5, "conflicts with `job`", "remove one"),
    Mistake(services("a: {command: x && y}"), 5, "`&&`", '["sh", "-c", "x && y"]'),
    Mistake(services("db: {image: x, memory: 512Mi}"), 5, "should be a size", 'such as "512m"'),
    Mistake(services("db: {image: x, memory: 1m}"), 5, 'should be "6m" at least', "Docker's minimum"),
    Mistake(services("db: {image: x, cpus: half}"), 5, "should be a number", "such as 0.5"),
    Mistake(
        services("db: {image: x, volumes: /data}"), 5, "should be a list", "write `volumes: [data:/data]`"
    ),
    Mistake(services("db: {image: x, volumes: ['data:']}"), 5, "with an absolute path inside", "NAME:/path"),
    Mistake(
        services("db: {image: x, volumes: ['data:/.']}"), 5, "with an absolute path inside", "NAME:/path"
    ),
    Mistake(services("db: {image: x, volumes: ['d://']}"), 5, "with an absolute path inside", "NAME:/path"),
    Mistake(services("db: {image: x, volumes: ['a:/b:z:ro']}"), 5, '":ro" at most', "volumes[0]"),
    Mistake(services("db: {image: x, volumes: ['/etc:/x']}"), 5, "of this machine", "`data:/path`"),
    Mistake(services("db: {image: x, volumes: ['~/x:/x']}"), 5, "of this machine", "`./file:/path`"),
    Mistake(services("db: {image: x, volumes: ['../x:/x']}"), 5, "leads out of the repository", "within it"),
    Mistake(services("db: {image: x, volumes: ['a:/x', 'b:/x/']}"), 5, "two mounts at /x", "remove one"),
    Mistake(services("db: {image: x, tmpfs: tmp}"), 5, "should be an absolute path", 'such as "/tmp"'),
    Mistake(services("db: {image: x, working_dir: app}"), 5, "should be an absolute path", "working_dir"),
    Mistake(services("db: {image: x, privileged: true}"), 5, "isn't supported", "confines each container"),
    Mistake(services("db: {image: x, restart: always}"), 5, "isn't needed", "restarts services that end"),
    Mistake(
        services("db: {image: x, secrets: {A: b}}"), 5, "isn't supported here", "`env: {NAME: ${VARIABLE}}`"
    ),
    Mistake(
        services("db: {image: postgres, env: {POSTGRES_PASSWORD: '${PW}'}}"),
        5,
        "is set for each preview",
        "remove it, or write the value itself",
    ),
    Mistake(services("a: {image: x, depends_on: [b]}"), 5, 'names "b", which isn\'t a service', "depends_on"),
    Mistake(
        services("a: {image: x, depends_on: [databse]}", "database: postgres"),
        5,
        "isn't a service",
        'mean "data',
    ),
    Mistake(services("a: {image: x, depends_on: [a]}"), 5, "names the service itself", "depends_on"),
    Mistake(
        services("a: {image: x, depends_on: b}", "b: {image: x, depends_on: a}"), 5, "circle", "a -> b -> a"
    ),
    Mistake(
        services("a: {image: x, depends_on: {b: completed}}", "b: x"), 5, "until", "needs `job: true` there"
    ),
    Mistake(
        services("a: {image: x, depends_on: {b: healthy}}", "b: {command: x, job: true}"),
        5,
        "which is a job",
        "write `b: completed`",
    ),
    Mistake(
        services("a: {image: x, depends_on: {b: service_healthy}}", "b: x"),
        5,
        'not "service_healthy"',
        '"started", "healthy", "completed" or "ready"',
    ),
    Mistake(services("web: {command: x}"), 5, "belongs to the application itself", "write `command` beside"),
    Mistake(services("web: {routed: 80}"), 5, "belongs to the application itself", "write `port` beside"),
    Mistake(services("web: {profiles: x}"), 5, "isn't possible for the main service", "web.profiles"),
    Mistake(app("port: 80", "web: My App"), 4, "should be a name of a service", 'such as "app"'),
    Mistake(app("port: 80", "volumes: [data:/data]"), 4, "should be a mapping", "{uploads: fresh}"),
    Mistake(app("port: 80", "volumes: {data: fresh}"), 4, "isn't mounted by any service", "[data:/data]"),
    Mistake(app("port: 80", "data: 5"), 4, "should be a mapping", "{keep: 5}"),
    Mistake(app("port: 80", "data: {keep: 0}"), 4, "should be", "1"),
    Mistake(app("port: 80", "data: {forks: true}"), 4, "data.forks", '"deny" or "allow"'),
    Mistake(app("port: 80", "data: {volumes: {a: clone}}"), 4, "unknown key", "goes under `volumes`"),
    Mistake(app("port: 80", "data: {mask: {db: 'x'}}"), 4, "isn't a service of this application", "services"),
    Mistake(app("port: 80", "data: {mask: {web: ' '}}"), 4, "masks nothing", "remove the key"),
    Mistake(
        app("port: 80", "data: {min_role: viewer}"), 4, "should be developer or administrator", "min_role"
    ),
    Mistake(app("port: 80", "data: {schedule: {at: '25:00', preview: a}}"), 4, "time of day", '"03:00"'),
    Mistake(app("port: 80", "data: {schedule: {at: '03:00'}}"), 4, "`run` should be given", "not both"),
    Mistake(
        app("port: 80", "data: {schedule: {preview: a, branch: b}}"),
        4,
        "has no effect without `run`",
        "remove",
    ),
    Mistake(app("port: 80", "volumes: {data: forever}"), 4, 'not "forever"', '"fresh" or "clone"'),
    Mistake(
        app("image: x", "port: 80", "compose: true"), 5, "needs the repository's code", "with `build: .`"
    ),
    Mistake(
        app("image: x", "port: 80", "services: {a: {build: x}}"), 5, "needs the repository's code", "a.build"
    ),
    Mistake(services("a: {image: x, volumes: ['./a:/b']}"), 5, "needs the repository's code", "volumes[0]"),
    Mistake(app("build: .", "compose: /etc/x.yml"), 4, "should be a path within the repository", "compose"),
    Mistake(app("build: .", "compose: 3"), 4, "should be true, or a path", '"compose.yaml"'),
    Mistake(
        app("build: .", "compose: true", "services: {a: x}"), 4, "conflicts with `services`", "remove one"
    ),
    Mistake("forks: {images: ['a b']}\n", 1, "should be an image", '"elasticsearch:8.*", or "catalogue"'),
    # Docker Swarm
    Mistake("engine:\n  kind: swarm\n", 1, "is required with `kind: swarm`", "`docker-registry`", "registry"),
    Mistake("engine:\n  ssh_user: -oProxyCommand=x\n", 2, "should be the name of a user", "stager-node"),
    Mistake("engine:\n  registry: a.io:5000\n", 2, "has no effect without `kind: swarm`", "add that"),
    Mistake(
        "engine:\n  kind: swarm\n  registry: https://a.io:5000/\n",
        3,
        "should be without scheme",
        "write `registry: a.io:5000`",
    ),
    Mistake("engine:\n  registry: a.io\n", 2, "should be host:port", '"10.0.0.1:5000"'),
    Mistake("engine:\n  registry: a.io:5000/Mine\n", 2, "should be host:port", ":443/previews"),
    Mistake("engine: {kind: swarms}\n", 1, 'not "swarms"', '"docker" or "swarm"', "engine.kind"),
    Mistake(swarm("port: 80", "forks: approve"), 5, "can't confine code from forks", 'write `forks: "off"`'),
    Mistake(swarm("port: 80", "egress: none"), 5, "isn't enforced", "remove it", "images.shop.egress"),
    Mistake(
        swarm("port: 80", "egress_allow: ['10.0.0.5:1']"), 5, "isn't enforced", "remove it", "egress_allow"
    ),
    Mistake(swarm("port: 80", "data: {keep: 3}"), 5, "has no snapshots", "remove it", "images.shop.data"),
    Mistake(
        swarm("port: 80", "volumes: {a: clone}", "services: {db: {image: x, volumes: ['a:/a']}}"),
        5,
        "has no snapshots",
        "write `keep` or `fresh`",
        "images.shop.volumes.a",
    ),
    Mistake(
        "defaults:\n  egress: internet\n" + swarm("port: 80"), 2, "isn't enforced", "nodes' own firewall"
    ),
    Mistake(swarm("port: 80") + "pictures: {image: x}\n", 5, "takes no pictures", "remove it"),
    # combinations
    Mistake(app("build: .", "image: shop"), 4, "has no effect, because `build`", "remove one of them"),
    Mistake("github:\n  client_id: x\n", 1, "client_secret: is required", "because `client_id` is given"),
]

WARNINGS = [
    Mistake(app("port: 80", "private: sign-in"), 4, "no user can sign in", "Add a strategy"),
    Mistake("defaults:\n  private: sign-in\n" + app("port: 80"), 2, "no user can sign in", "Add a strategy"),
    Mistake(USERS + app("build: ."), 5, "without credentials", "Add `github.outgoing_auth`"),
    Mistake(
        USERS + "github:\n  outgoing_auth:\n    user: ann\n    password: " + TOKEN,
        6,
        "contains a token",
        "Refer to a variable, `${NAME}`, or a file",
        "github.outgoing_auth.password",
    ),
    Mistake(app("port: 80", f"env: {{KEY: {TOKEN}}}"), 4, "contains a token", "`file:/path`"),
    Mistake(app("port: 80", f"secrets: {{KEY: {TOKEN}}}"), 4, "contains a token", "`file:/path`"),
    Mistake("users: ['ann:x']\n", 1, "`users` has no effect", "Add it, or remove `users`"),
    Mistake("authentication_strategy: basic\nusers:\n- ann:x\n", 3, "plain text", "stager hash-password"),
    Mistake("authentication_strategy: basic\n", 1, "`users` is empty", 'users: ["ann:${STAGER_PASSWORD}"]'),
    Mistake("images: {}\n", 1, "`images` is empty", "`images: {shop: {port: 3000}}`"),
    Mistake("nginx:\n  target_dir: sites\n", 1, "`nginx` has no effect", "`routing_strategy: nginx`"),
    Mistake(
        app("port: 80") + "event_listeners: LaunchOnGithubPullRequestOpened\n",
        4,
        "hook_secret",
        "/setup/github",
    ),
]

IN_THE_REPOSITORY = [
    Mistake("prot: 3000\n", 1, "unknown key", 'did you mean "port"?'),
    Mistake(
        "port: 80\nmemory: 1g\n", 2, "belongs to the server's configuration", "under an entry of `images`"
    ),
    Mistake(
        "secrets: {A: b}\n", 1, "belongs to the server's configuration", "every reader of the repository"
    ),
    Mistake("port: 80\nservices: [db]\n", 2, "should be a mapping", "{database: postgres:16}"),
    Mistake("port: 80\nvolumes: [a:/a]\n", 2, "should be a mapping", "{uploads: fresh}"),
    Mistake("services:\n  a: {image: x, volumes: ['/:/x']}\n", 2, "of this machine", "`data:/path`"),
    Mistake("services:\n  a:\n    build: {args: {HTTP_PROXY: x}}\n", 3, "can't be given here", "build.args"),
    Mistake("services:\n  a: {build: {secrets: {A: b}}}\n", 2, "unknown key", "build.secrets"),
    Mistake("services:\n  a: {command: x, depends_on: b}\n", 2, "which isn't a service", "depends_on"),
    Mistake("compose: ../x.yml\n", 1, "should be a path within the repository", "compose"),
    Mistake("compose: true\nservices: {a: x}\n", 1, "conflicts with `services`", "remove one of them"),
    Mistake('ports: ["3000:3000"]\n', 1, "isn't needed", "write `port: 3000`"),
    Mistake("port: 80\nenv: [A=1]\n", 2, "should be a mapping", "write `env: {RAILS_ENV: staging}`"),
    Mistake("port: 80\ncommand: npm start && x\n", 2, "`&&`", '["sh", "-c", "npm start && x"]'),
    Mistake("port: 80\nhealth_path: up\n", 2, "should be a path", '"/health"'),
    Mistake("port: 80\nport: 81\n", 1, "is given twice", "again at line 2"),
    Mistake("port: 80\n\tcommand: x\n", 2, "column", "indent with spaces, not with tabs"),
    Mistake("port: abc\n", 1, "should be an integer", "such as 3000"),
]


@pytest.mark.parametrize("mistake", ERRORS, ids=lambda mistake: mistake.text[:60])
def test_a_mistake_is_an_error_with_line_cause_and_fix(lines_of: LinesOf, mistake: Mistake) -> None:
    found = lines_of(mistake.text, PW="hunter2")
    assert found.problems
    assert mistake.is_answered_by(found.problems), found.problems
    assert not any("hunter2" in problem for problem in found.problems)


@pytest.mark.parametrize("mistake", WARNINGS, ids=lambda mistake: mistake.text[:60])
def test_a_mistake_that_starts_is_a_warning(lines_of: LinesOf, mistake: Mistake) -> None:
    found = lines_of(mistake.text, PW="hunter2")
    assert not found.problems
    assert mistake.is_answered_by(found.warnings), found.warnings
    assert not any(TOKEN in warning or "hunter2" in warning for warning in found.warnings)


@pytest.mark.parametrize("mistake", IN_THE_REPOSITORY, ids=lambda mistake: mistake.text[:60])
def test_a_mistake_in_the_repository_file(mistake: Mistake) -> None:
    with pytest.raises(Fault) as caught:
        read_file(mistake.text.encode(), ".stager.yml", get_args(RepositoryKey))
    assert mistake.is_answered_by(caught.value.detail.splitlines()), caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        # Nothing to act on: the local repository needs no webhook, owner or credentials.
        USERS + app("build: .") + "local_forge: {shop: /srv/shop.git}\n",
        # GitHub launches everything, so no user needs to sign in.
        app("build: .", "repo: acme/shop")
        + "event_listeners: [LaunchOnGithubPullRequestOpened, KillOnGithubPullRequestClosed]\n"
        "github: {incoming_auth: {hook_secret: '${PW}'}, outgoing_auth: {user: a, password: '${PW}'}}\n",
        # GitHub is connected, so the listeners and the comment are on.
        USERS
        + app("build: .", "repo: acme/shop")
        + "github: {incoming_auth: {hook_secret: '${PW}'}, outgoing_auth: {user: a, password: '${PW}'}}\n",
        # The password comes from the environment.
        USERS + app("port: 80"),
        USERS + app("port: 80") + "domain: localhost:8000\n",
        # Operators in quotes, or in a list, are the program's.
        USERS + app("port: 80", "command: sh -c 'a && b'"),
        USERS + app("port: 80", "command: [sh, -c, 'a && b']"),
        USERS + app("port: 80", r"command: 'sh -c \"exec serve -p $PORT\"'".replace("\\", "")),
        USERS + app("port: 80", r"command: find . -name x -exec rm {} \;"),
        USERS + app("port: 80", "env: {KEY: '${PW}'}"),
    ],
)
def test_what_is_right_has_no_warning(lines_of: LinesOf, text: str) -> None:
    found = lines_of(text, PW=TOKEN)
    assert (found.problems, found.warnings) == ([], [])
