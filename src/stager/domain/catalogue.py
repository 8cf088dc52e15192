"""The catalogue of services: images of databases, caches, brokers and mail traps whose health check, volume,
variables and clean stop are known.

The variables, ports and paths are those of the images' own pages: https://hub.docker.com/_/postgres,
https://hub.docker.com/_/mysql, https://hub.docker.com/_/mariadb, https://hub.docker.com/_/redis,
https://hub.docker.com/r/valkey/valkey, https://hub.docker.com/_/rabbitmq, https://hub.docker.com/r/maildev/maildev,
https://hub.docker.com/r/axllent/mailpit and https://hub.docker.com/r/mailhog/mailhog.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import quote

from stager.domain.service import MIB, Mount, ServiceCheck, ServiceSpec, generated, own_url

Kind = Literal["postgres", "mysql", "redis", "rabbitmq", "mail"]

OFFICIAL = "catalogue"
"""In `forks.images`: the images of the catalogue, from Docker Hub."""

_LIBRARY = ("docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/", "library/")
_GENERATED_PASSWORD = re.compile(r"PASSWORD|_PASS$")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the catalogue.

    Args:
        name: in messages and on the reference page, such as `PostgreSQL`.
        images: names on Docker Hub, without tag; the first is what `short` stands for.
        port: the port that clients connect to.
        target: where its data is; empty for none.
        variables: its own variables. Those whose name has PASSWORD get a generated value.
        url: the variable with its URL that other services get, such as `DATABASE_URL`.
        template: that URL, with the service's own variables and `host` and `port` in braces.
        others: further variables that other services get, as templates.
        short: short name of the first image; empty if it has none.
        routed: port of its page, which gets a host of its own; None for none.
        target_of: where the data of a tag is, if that differs from `target`.
        not_cloned: absolute paths of files that a clone of its data must not have, by the tag.
        relaxed: the command of a server that doesn't wait for the disk; empty if there is none. A crash of
            the machine may break its data.
    """

    name: str
    kind: Kind
    images: tuple[str, ...]
    port: int
    check: ServiceCheck
    memory: int
    url: str
    template: str
    others: Mapping[str, str]
    target: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    short: str = ""
    routed: int | None = None
    stop_signal: str = ""
    stop_grace_period: float = 10.0
    target_of: Callable[[str], str] | None = None
    not_cloned: Callable[[str], tuple[str, ...]] | None = None
    relaxed: tuple[str, ...] = ()

    def complete(self, spec: ServiceSpec) -> ServiceSpec:
        """Return the service with everything that it doesn't declare itself: health check, volume, variables,
        memory, clean stop, and what it provides to the other services."""
        variables = {**self._own_variables(), **spec.variables}
        return replace(
            spec,
            image=full_image(spec.image),
            variables=variables,
            port=spec.port or self.routed,
            check=spec.check or self.check,
            mounts=spec.mounts if self._has_data(spec) else (*spec.mounts, *self._data(spec)),
            memory=spec.memory or self.memory,
            stop_signal=spec.stop_signal or self.stop_signal,
            stop_grace_period=self.stop_grace_period
            if spec.stop_grace_period is None
            else spec.stop_grace_period,
            provides={**self._provided(spec.name, variables), **spec.provides},
        )

    def _own_variables(self) -> dict[str, str]:
        return {
            name: generated(name) if _GENERATED_PASSWORD.search(name) else value
            for name, value in self.variables.items()
        }

    def data_folder(self, image: str) -> str:
        """Where this image has its data; empty for none."""
        return self.target_of(tag_of(image)) if self.target_of else self.target

    def _has_data(self, spec: ServiceSpec) -> bool:
        folder = self.data_folder(spec.image)
        return not folder or any(f"{folder}/".startswith(f"{mount.target}/") for mount in spec.mounts)

    def _data(self, spec: ServiceSpec) -> tuple[Mount, ...]:
        return (Mount(self.data_folder(spec.image), volume=f"{spec.name}-data"),)

    def _provided(self, service: str, variables: Mapping[str, str]) -> dict[str, str]:
        plain = {**variables, "host": service, "port": str(self.port)}
        quoted = {name: _quoted(value) for name, value in plain.items()}
        url = self.template.format_map(quoted)
        others = {name: template.format_map(plain) for name, template in self.others.items()}
        return {**others, self.url: url, own_url(service): url}


def _quoted(value: str) -> str:
    """Quote a part of a URL; generated secrets consist of letters and digits."""
    return quote(value, safe="\0:") if "\0" in value else quote(value, safe="")


_MAJOR = re.compile(r"(?:^|-)pg(\d+)|^(\d+)")
POSTGRES_SUBFOLDER_BEFORE = 18
"""Since PostgreSQL 18 the image's volume is the parent of `data`, https://github.com/docker-library/postgres/pull/1259."""


def _postgres_data(tag: str) -> str:
    is_below = _postgres_major(tag) < POSTGRES_SUBFOLDER_BEFORE
    return "/var/lib/postgresql/data" if is_below else "/var/lib/postgresql"


def _postgres_major(tag: str) -> int:
    found = _MAJOR.search(tag)
    return int(found[1] or found[2]) if found else POSTGRES_SUBFOLDER_BEFORE


def _postgres_lock(tag: str) -> tuple[str, ...]:
    """The file that a server which didn't stop cleanly leaves
    (https://www.postgresql.org/docs/current/backup-file.html)."""
    major = _postgres_major(tag)
    folder = (
        _postgres_data(tag) if major < POSTGRES_SUBFOLDER_BEFORE else f"{_postgres_data(tag)}/{major}/docker"
    )
    return (f"{folder}/postmaster.pid",)


def _mysql_id(_: str) -> tuple[str, ...]:
    """The file with the server's UUID, which MySQL makes if it is missing
    (https://dev.mysql.com/doc/refman/en/replication-options.html#sysvar_server_uuid)."""
    return ("/var/lib/mysql/auto.cnf",)


def _database_variables(user: str, password: str, database: str) -> dict[str, str]:
    return {
        "DB_HOST": "{host}",
        "DB_PORT": "{port}",
        **dict.fromkeys(("DB_USER", "DB_USERNAME"), f"{{{user}}}"),
        "DB_PASSWORD": f"{{{password}}}",
        **dict.fromkeys(("DB_NAME", "DB_DATABASE"), f"{{{database}}}"),
    }


_PG = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
_MY = ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_DATABASE")
_MYSQL_PING = (
    'MYSQL_PWD="$MYSQL_PASSWORD" exec "$(command -v mariadb-admin || command -v mysqladmin)"'
    ' ping --silent --host=127.0.0.1 --user="$MYSQL_USER"'
)
_PG_RELAXED = (
    "postgres",
    *("-c", "fsync=off"),
    *("-c", "synchronous_commit=off"),
    *("-c", "full_page_writes=off"),
)
"""https://www.postgresql.org/docs/current/non-durability.html"""
_MY_RELAXED = ("--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--skip-innodb-doublewrite")
"""https://dev.mysql.com/doc/refman/en/optimizing-innodb-logging.html,
https://mariadb.com/kb/en/innodb-system-variables/."""
_MARIADB = Entry(
    name="MariaDB",
    kind="mysql",
    images=("mariadb",),
    port=3306,
    check=ServiceCheck(command=("sh", "-c", _MYSQL_PING)),
    memory=192 * MIB,
    url="DATABASE_URL",
    template="mysql://{MYSQL_USER}:{MYSQL_PASSWORD}@{host}:{port}/{MYSQL_DATABASE}",
    others={
        "MYSQL_HOST": "{host}",
        "MYSQL_PORT": "{port}",
        **{name: f"{{{name}}}" for name in _MY},
        **_database_variables(*_MY),
    },
    variables={
        "MYSQL_USER": "app",
        "MYSQL_PASSWORD": "",
        "MYSQL_DATABASE": "app",
        "MYSQL_ROOT_PASSWORD": "",
    },
    target="/var/lib/mysql",
    stop_grace_period=30.0,
    relaxed=("mariadbd", *_MY_RELAXED),
)
_REDIS = Entry(
    name="Redis",
    kind="redis",
    images=("redis",),
    port=6379,
    check=ServiceCheck(command=("sh", "-c", "redis-cli ping | grep -q PONG")),
    memory=32 * MIB,
    url="REDIS_URL",
    template="redis://{host}:{port}/0",
    others={"REDIS_HOST": "{host}", "REDIS_PORT": "{port}"},
    target="/data",
)

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        name="PostgreSQL",
        kind="postgres",
        images=("postgres", "postgis/postgis", "pgvector/pgvector", "timescale/timescaledb"),
        port=5432,
        # Over TCP: while its data folder is made, the image's server listens on a Unix socket only.
        check=ServiceCheck(
            command=(
                "sh",
                "-c",
                'pg_isready --quiet --host=127.0.0.1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB"',
            )
        ),
        memory=160 * MIB,
        url="DATABASE_URL",
        template="postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{host}:{port}/{POSTGRES_DB}",
        others={
            "PGHOST": "{host}",
            "PGPORT": "{port}",
            "PGUSER": "{POSTGRES_USER}",
            "PGPASSWORD": "{POSTGRES_PASSWORD}",
            "PGDATABASE": "{POSTGRES_DB}",
            "POSTGRES_HOST": "{host}",
            "POSTGRES_PORT": "{port}",
            **{name: f"{{{name}}}" for name in _PG},
            **_database_variables(*_PG),
        },
        variables={"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "", "POSTGRES_DB": "app"},
        target_of=_postgres_data,
        not_cloned=_postgres_lock,
        relaxed=_PG_RELAXED,
        # SIGTERM waits for all clients to disconnect (https://www.postgresql.org/docs/current/server-shutdown.html).
        stop_signal="SIGINT",
        stop_grace_period=30.0,
    ),
    _MARIADB,
    replace(
        _MARIADB,
        name="MySQL",
        images=("mysql",),
        memory=512 * MIB,
        not_cloned=_mysql_id,
        relaxed=("mysqld", *_MY_RELAXED),
    ),
    _REDIS,
    replace(
        _REDIS,
        name="Valkey",
        images=("valkey/valkey",),
        short="valkey",
        check=ServiceCheck(command=("sh", "-c", "valkey-cli ping | grep -q PONG")),
    ),
    Entry(
        name="RabbitMQ",
        kind="rabbitmq",
        images=("rabbitmq",),
        port=5672,
        # Listeners start last, after the default user was created (https://www.rabbitmq.com/docs/monitoring).
        check=ServiceCheck(port=5672),
        memory=256 * MIB,
        url="AMQP_URL",
        template="amqp://{RABBITMQ_DEFAULT_USER}:{RABBITMQ_DEFAULT_PASS}@{host}:{port}/%2F",
        others={
            "RABBITMQ_HOST": "{host}",
            "RABBITMQ_PORT": "{port}",
            "RABBITMQ_USER": "{RABBITMQ_DEFAULT_USER}",
            "RABBITMQ_PASSWORD": "{RABBITMQ_DEFAULT_PASS}",
        },
        variables={"RABBITMQ_DEFAULT_USER": "app", "RABBITMQ_DEFAULT_PASS": ""},
        target="/var/lib/rabbitmq",
        stop_grace_period=30.0,
    ),
    *(
        Entry(
            name=name,
            kind="mail",
            images=(image,),
            short=short,
            port=1025,
            check=ServiceCheck(port=1025),
            memory=96 * MIB,
            url="SMTP_URL",
            template="smtp://{host}:{port}",
            others={
                f"{prefix}_{part}": f"{{{part.lower()}}}"
                for prefix in ("SMTP", "MAIL", "EMAIL")
                for part in ("HOST", "PORT")
            },
            routed=page,
        )
        for name, image, short, page in (
            ("MailDev", "maildev/maildev", "maildev", 1080),
            ("Mailpit", "axllent/mailpit", "mailpit", 8025),
            ("MailHog", "mailhog/mailhog", "mailhog", 8025),
        )
    ),
)

_BY_IMAGE: Mapping[str, Entry] = {image: entry for entry in CATALOGUE for image in entry.images}
_SHORT: Mapping[str, str] = {entry.short: entry.images[0] for entry in CATALOGUE if entry.short}


def full_image(image: str) -> str:
    """Replace a short name of the catalogue: `maildev/maildev:2` for `maildev:2`."""
    name = name_of(image)
    return _SHORT[name] + image[len(name) :] if name in _SHORT else image


def find(image: str) -> Entry | None:
    """Return the entry of an image, from Docker Hub or another registry, with or without tag and digest; None
    if there is none."""
    return _BY_IMAGE.get(_without_registry(name_of(full_image(image))))


def left_out(image: str, target: str) -> tuple[str, ...]:
    """Return the files that a clone of a service's volume must not have, relative to the volume.

    Args:
        image: the service's.
        target: where the volume is mounted.
    """
    entry = find(image)
    paths = entry.not_cloned(tag_of(image)) if entry and entry.not_cloned else ()
    folder = f"{target.rstrip('/')}/"
    return tuple(path.removeprefix(folder) for path in paths if path.startswith(folder))


def relaxed(image: str) -> tuple[str, ...]:
    """Return the command of a server of this image that doesn't wait for the disk; empty if there is none."""
    entry = find(image)
    return entry.relaxed if entry else ()


def name_of(image: str) -> str:
    """The name of an image without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def tag_of(image: str) -> str:
    """The tag of an image; empty for none."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def _without_registry(name: str) -> str:
    first, slash, rest = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (rest if has_registry else name).removeprefix("library/")


def is_allowed(image: str, patterns: Collection[str]) -> bool:
    """Whether one of these patterns allows an image.

    Args:
        patterns: names with or without tag, such as `elasticsearch:8.*` or `ghcr.io/acme/*`; `*` matches any
            characters but `/`. `catalogue` stands for the catalogue's images on Docker Hub.
    """
    image = _on_docker_hub(full_image(image))
    if OFFICIAL in patterns and name_of(image) in _BY_IMAGE:
        return True
    return any(_matches(_on_docker_hub(pattern), image) for pattern in patterns if pattern != OFFICIAL)


def _on_docker_hub(image: str) -> str:
    """Remove the registry's name if it is Docker Hub, which engines add."""
    prefix = next((each for each in _LIBRARY if image.startswith(each)), "")
    return image.removeprefix(prefix)


def _matches(pattern: str, image: str) -> bool:
    wanted = pattern.split("/")
    candidates = (each.split("/") for each in (image, image.partition("@")[0], name_of(image)))
    return any(len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)) for parts in candidates)
