"""Keys of other tools that people write in a configuration."""

from __future__ import annotations

from typing import Final

_BESIDE = "run a database beside Stager, and pass its address in `env`"

FOREIGN_KEYS: Final = {
    "services": f"aren't supported in this version; {_BESIDE}",
    "depends_on": f"isn't supported in this version; {_BESIDE}",
    "volumes": "aren't supported in this version; a preview starts with the files of its image",
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
    "entrypoint": "isn't supported; set it in the Dockerfile, or write `command`",
    "mem_limit": "is called `memory`; write `memory: 512m`",
    "restart": "isn't needed; Stager restarts instances",
    "networks": "isn't supported; each preview has a network of its own, and `egress` limits it",
    "url": "isn't needed; `domain` and `host_template` determine the URLs",
    "branch": "isn't supported here; write `pull_requests: {bases: main}`",
    "branches": "isn't supported here; write `pull_requests: {bases: main}`",
}
"""Keys that people know from Compose and from other tools, each with what to write instead."""
