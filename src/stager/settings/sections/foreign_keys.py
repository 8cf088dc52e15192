"""Keys of other tools that people write in a configuration."""

from __future__ import annotations

from typing import Final

FOREIGN_KEYS: Final = {
    "depends_on": "belongs to a service; for the application itself, write"
    " `services: {web: {depends_on: [database]}}`",
    "tmpfs": "belongs to a service; for the application itself, write `services: {web: {tmpfs: /tmp}}`",
    "mail": "belongs under `services`; write `services: {mail: maildev}`",
    "database": "belongs under `services`; write `services: {database: postgres:16}`",
    "ports": "isn't needed, because each preview has a URL of its own; write `port: 3000`, the port inside"
    " the container",
    "expose": "is called `port`; write `port: 3000`",
    "ttl": "isn't supported; a preview is removed when its pull request is closed, and `max_previews` limits"
    " their number",
    "environment": "is called `env`; write `env: {RAILS_ENV: staging}`",
    "env_file": "isn't supported; write each variable under `env`, or refer to a file: `NAME: file:/path`",
    "dockerfile": "belongs under `build`; write `build: {dockerfile: PATH}`",
    "context": "belongs under `build`; write `build: {context: FOLDER}`",
    "args": "belongs under `build`; write `build: {args: {NAME: value}}`",
    "target": "belongs under `build`; write `build: {target: STAGE}`",
    "healthcheck": "is called `health_path`; write `health_path: /health`",
    "entrypoint": "belongs to a service; for the application itself, write"
    " `services: {web: {entrypoint: [bin/start]}}`",
    "mem_limit": "is called `memory`; write `memory: 512m`",
    "restart": "isn't needed; Stager restarts instances",
    "networks": "isn't supported; each preview has a network of its own, and `egress` limits it",
    "url": "isn't needed; `domain` and `host_template` determine the URLs",
    "branch": "isn't supported here; write `pull_requests: {bases: main}`",
    "branches": "isn't supported here; write `pull_requests: {bases: main}`",
}
"""Keys that people know from Compose and from other tools, each with what to write instead."""

_UNCONFINED = "isn't supported; Stager confines each container itself"

FOREIGN_SERVICE_KEYS: Final = {
    "environment": "is called `env`; write `env: {POSTGRES_DB: shop}`",
    "env_file": "isn't supported; write each variable under `env`",
    "secrets": "isn't supported here; in the configuration, write `env: {NAME: ${VARIABLE}}`",
    "port": "is called `routed`, and gives the service a host of its own; without it, other services reach"
    " each of its ports by its name",
    "ports": "is called `routed`, and gives the service a host of its own; write `routed: 3000`",
    "expose": "isn't needed; other services reach each of its ports by its name",
    "healthcheck": "is called `health`; write `health: {command: [pg_isready]}`",
    "health_path": "is called `health`; write `health: /up`",
    "dockerfile": "belongs under `build`; write `build: {dockerfile: PATH}`",
    "context": "belongs under `build`; write `build: {context: FOLDER}`",
    "args": "belongs under `build`; write `build: {args: {NAME: value}}`",
    "target": "belongs under `build`; write `build: {target: STAGE}`",
    "mem_limit": "is called `memory`; write `memory: 256m`",
    "deploy": "isn't supported; write `memory: 256m` and `cpus: 0.5`",
    "restart": "isn't needed; Stager restarts services that end, unless they have `job: true`",
    "replicas": "isn't supported; each service runs once",
    "scale": "isn't supported; each service runs once",
    "links": "isn't needed; services reach each other by name",
    "networks": "isn't needed; services reach each other by name, and other previews don't reach them",
    "container_name": "isn't needed; other services reach it by its name here",
    "hostname": "isn't needed; other services reach it by its name here",
    "privileged": _UNCONFINED,
    "devices": _UNCONFINED,
    "cap_add": _UNCONFINED,
    "network_mode": _UNCONFINED,
    "pid": _UNCONFINED,
    "security_opt": _UNCONFINED,
    "workdir": "is called `working_dir`",
    "url": "isn't needed; the variable `STAGER_URL_SERVICE` has it",
    "hooks": "belong to the application; write a service with `job: true` for a command at each push",
}
"""Keys that people know from Compose and from an application, each with what to write under a service."""
