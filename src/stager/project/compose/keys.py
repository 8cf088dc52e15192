"""The keys of Compose files, and what the reader does with each.

The keys are those of https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json. What is
in none of these tables is refused as unknown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stager.project.compose.value import Refused, Value

LEAVE_OUT = (
    "Remove it, or give the service a profile such as `profiles: [local]` to leave it out of previews."
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one kind of mapping.

    Args:
        what: the mapping, in messages.
        supported: what each is for.
        ignored: keys without effect, each with the reason.
        refused: keys with which nothing is run, each with the reason: a sentence's end after the key. Empty
            values (null, false, an empty list or mapping) are accepted.
    """

    what: str
    supported: Mapping[str, str]
    ignored: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def check(self, mapping: Mapping[str, Value]) -> Iterator[Refused]:
        """The problems of a mapping's keys."""
        for key, value in mapping.items():
            if key in self.refused:
                if value.data not in (None, False, "", [], {}):
                    yield value.refuse(f"`{key}` of {self.what} {self.refused[key]}.", LEAVE_OUT)
            elif not key.startswith("x-") and key not in self.supported and key not in self.ignored:
                known = (*self.supported, *self.ignored)
                close = difflib.get_close_matches(key, known, 1)
                hint = f"Did you mean `{close[0]}`?" if close else "Remove it, or prefix it with `x-`."
                yield value.refuse(f"`{key}` isn't a key of {self.what}.", hint)

    def ignored_of(self, mapping: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
        """The keys of a mapping that have no effect."""
        return ((key, value) for key, value in mapping.items() if key in self.ignored)


_NO_HOST = "would leave the preview's own network or namespaces"
_OWN_LIMITS = "the application's limits apply"
_NO_TERMINAL = "previews have no terminal"
_SCALE = "each service runs once"
_DNS = "previews use the engine's resolver"
_TUNING = "the engine's defaults apply"
_CONFINED = "Stager's confinement applies"

FILE = Keys(
    "a Compose file",
    supported={
        "services": "the services",
        "volumes": "named volumes of the environment; each is the preview's own",
        "networks": "accepted; all services of a preview share one network",
        "configs": "files of the repository (`file`), mounted read-only",
        "secrets": "files of the repository (`file`), mounted read-only under `/run/secrets`",
        "include": "further Compose files of the repository",
    },
    ignored={
        "name": "the environment has its own name",
        "version": "obsolete in Compose as well",
    },
    refused={"models": "isn't supported"},
)

SERVICE = Keys(
    "a service",
    supported={
        "image": "the image that it runs; with `build`, a name for what is built",
        "build": "how its image is built from the commit",
        "command": "text, split as Compose does, or list",
        "entrypoint": "text, split as Compose does, or list",
        "environment": "mapping or list; a variable without a value is looked up like `${NAME}`",
        "env_file": "files of the repository; a missing one is proposed from `.env.example`",
        "ports": "the first TCP port gets the requests for the service's host; none is published",
        "expose": "like `ports`, where no service has any",
        "volumes": "named and anonymous volumes; of files and folders of the commit it gets a copy",
        "tmpfs": "paths with an empty file system in memory; options are ignored",
        "depends_on": "list, or mapping with `condition`",
        "links": "a dependency and an alias",
        "healthcheck": "`test` in all forms, `timeout`, `start_period`, `start_interval`, `disable`",
        "profiles": "the service runs only with one of them active",
        "networks": "only `aliases` have an effect",
        "network_mode": "`bridge` only",
        "container_name": "a further name under which the other services reach it",
        "user": "user and group",
        "working_dir": "absolute path",
        "deploy": "only `resources.limits` has an effect",
        "mem_limit": "memory; counts towards the application's limit",
        "cpus": "cores; count towards the application's limit",
        "shm_size": "size of `/dev/shm`",
        "stop_signal": "the signal that stops it",
        "stop_grace_period": "time between that signal and SIGKILL",
        "configs": "those of the file",
        "secrets": "those of the file",
        "extends": "a service of the same file or of another one of the repository",
        "cap_add": "only capabilities that containers have anyway",
        "security_opt": "accepted unless it weakens the confinement",
        "pid": "empty or the container's own",
        "ipc": "`private`, `shareable` or `none`",
        "cgroup": "`private`",
        "x-stager-job": "true: it runs to its end, like one that another waits for with"
        " `service_completed_successfully`",
        "scale": "0 leaves the service out; other values are ignored",
    },
    ignored={
        "annotations": "nothing reads them",
        "attach": "logs of all services are kept",
        "blkio_config": _TUNING,
        "cap_drop": _CONFINED,
        "cpu_count": _OWN_LIMITS,
        "cpu_percent": _OWN_LIMITS,
        "cpu_period": _OWN_LIMITS,
        "cpu_quota": _OWN_LIMITS,
        "cpu_rt_period": _OWN_LIMITS,
        "cpu_rt_runtime": _OWN_LIMITS,
        "cpu_shares": _OWN_LIMITS,
        "cpuset": _OWN_LIMITS,
        "develop": "a push updates the preview",
        "dns": _DNS,
        "dns_opt": _DNS,
        "dns_search": _DNS,
        "domainname": "services reach each other by name",
        "extra_hosts": "names are resolved by the engine's resolver",
        "group_add": _CONFINED,
        "hostname": "services reach each other by name",
        "init": "Stager decides",
        "label_file": "nothing reads them",
        "labels": "nothing reads them",
        "logging": "Stager keeps the logs",
        "mac_address": _TUNING,
        "mem_reservation": _OWN_LIMITS,
        "mem_swappiness": _OWN_LIMITS,
        "memswap_limit": _OWN_LIMITS,
        "oom_kill_disable": _TUNING,
        "oom_score_adj": _TUNING,
        "pids_limit": _OWN_LIMITS,
        "platform": "images run on the machine's platform",
        "post_start": "hooks of the application are `hooks` in `.stager.yml`",
        "pre_stop": "hooks of the application are `hooks` in `.stager.yml`",
        "pull_policy": "Stager decides when images are pulled",
        "read_only": _CONFINED,
        "restart": "a service that exits is started again; one that another waits for with"
        " `service_completed_successfully` runs once",
        "runtime": "the application's profile decides",
        "stdin_open": _NO_TERMINAL,
        "storage_opt": _TUNING,
        "tty": _NO_TERMINAL,
        "ulimits": _OWN_LIMITS,
        "uts": _CONFINED,
    },
    refused={
        "cgroup_parent": _NO_HOST,
        "credential_spec": "names credentials of the machine",
        "device_cgroup_rules": "gives access to devices of the machine",
        "devices": "gives access to devices of the machine",
        "external_links": "reaches containers outside of the preview",
        "gpus": "gives access to devices of the machine",
        "isolation": "is for Windows only",
        "models": "isn't supported",
        "privileged": "removes the container's confinement",
        "provider": "runs a program on the machine",
        "sysctls": "changes kernel settings",
        "use_api_socket": "gives access to the container engine",
        "userns_mode": _NO_HOST,
        "volumes_from": "isn't supported; name the volumes in each service",
    },
)

BUILD = Keys(
    "`build`",
    supported={
        "context": "a folder of the repository",
        "dockerfile": "relative to the context",
        "args": "mapping or list; one without a value is looked up like `${NAME}`",
        "target": "the stage",
        "network": "`default` or `none`; ignored",
    },
    ignored={
        "cache_from": "Stager has a build cache of its own",
        "cache_to": "Stager has a build cache of its own",
        "labels": "nothing reads them",
        "no_cache": "Stager decides",
        "platforms": "images are built for the machine's platform",
        "provenance": "nothing reads it",
        "pull": "Stager decides",
        "sbom": "nothing reads it",
        "shm_size": "the builder's defaults apply",
        "tags": "Stager names the images",
        "ulimits": "the builder's defaults apply",
    },
    refused={
        "additional_contexts": "isn't supported; copy from the context, or from a stage of the Dockerfile",
        "dockerfile_inline": "isn't supported; write it to a file of the repository",
        "entitlements": "weakens the confinement of the build",
        "extra_hosts": "changes the names of hosts in the build",
        "isolation": "is for Windows only",
        "privileged": "weakens the confinement of the build",
        "secrets": "isn't supported; set `build.secrets` in the application's configuration",
        "ssh": "gives the build keys of the machine",
    },
)

HEALTHCHECK = Keys(
    "`healthcheck`",
    supported={
        "test": "the command",
        "timeout": "time for one try",
        "start_period": "added to the time after which the service has failed",
        "start_interval": "time between two tries, if it is less than a second",
        "interval": "with `retries`: the time after which the service has failed",
        "retries": "with `interval`: the time after which the service has failed",
        "disable": "no check, not even the image's",
    },
)

VOLUME = Keys(
    "a volume",
    supported={"driver": "`local` only", "external": "false only"},
    ignored={"name": "each preview has volumes of its own", "labels": "nothing reads them"},
    refused={"driver_opts": "can mount folders or devices of the machine"},
)

NETWORK = Keys(
    "a network",
    supported={"driver": "`bridge` or `overlay`; ignored", "external": "false only"},
    ignored=dict.fromkeys(
        ("name", "labels", "ipam", "internal", "attachable", "enable_ipv4", "enable_ipv6", "driver_opts"),
        "all services of a preview share one network",
    ),
)

FILE_OBJECT = Keys(
    "a secret or config",
    supported={"file": "a file of the repository", "external": "false only"},
    ignored={"name": "the preview's own", "labels": "nothing reads them"},
    refused={
        "content": "isn't supported; write it to a file of the repository",
        "environment": "isn't supported; use `environment` of the service",
        "driver": "isn't supported",
        "driver_opts": "isn't supported",
        "template_driver": "isn't supported",
    },
)

MOUNT = Keys(
    "a volume of a service",
    supported={
        "type": "`volume`, `bind` or `tmpfs`",
        "source": "a named volume, or a path of the repository",
        "target": "absolute path",
        "read_only": "whether the service can only read it",
    },
    ignored=dict.fromkeys(("bind", "volume", "tmpfs", "consistency"), "the engine's defaults apply"),
    refused={"image": "isn't supported"},
)

DEPENDENCY = Keys(
    "a dependency",
    supported={"condition": "what it must have reached", "required": "false: it may be left out"},
    ignored={"restart": "Stager replaces what a push changed"},
)

INCLUDE = Keys(
    "`include`",
    supported={
        "path": "one file, or several of which later ones override earlier ones",
        "project_directory": "a folder of the repository",
        "env_file": "files of the repository with variables for `${NAME}`",
    },
)
