"""Hostile, broken and odd Compose files, each with its refusals or with what becomes of it."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FILES = {"Dockerfile": "FROM debian\n", "folder/file.txt": "text\n", "file.conf": "a\n"}
"""Files that each repository has."""

HEAD = "services:\n  app:\n    image: example/app\n"
"""The first three lines of most files."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file.

    Args:
        text: the file `compose.yaml`.
        refusals: `LINE: beginning of the sentence` of each, or `FILE:LINE: ...`; none if it runs.
        files: further files.
        links: symbolic links, by their path.
        options: see `Options`.
    """

    text: str
    refusals: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def app(line: str, *refusals: str, **rest: Any) -> Hostile:
    """A service with one more key, in line 4."""
    return Hostile(f"{HEAD}    {line}\n", refusals, **rest)


def build(line: str, *refusals: str, **rest: Any) -> Hostile:
    """A service with one more key of `build`, in line 5."""
    text = f"services:\n  app:\n    build:\n      context: .\n      {line}\n"
    return Hostile(text, refusals, **rest)


def bomb(levels: int = 12) -> str:
    """A file whose aliases expand to 9 ** `levels` values."""
    lines = ["x-0: &a0 [x]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([*lines, "services: {app: {image: a}}"])


LEAVES_OUT = "leads out of the repository"
HOSTILE = {
    # Paths of the machine
    "a host folder": app('volumes: ["/etc:/host"]', "4: '/etc' is a path on the server, which previews can't mount."),
    "the root": app('volumes: ["/:/host:ro"]', "4: '/' is a path on the server, which previews can't mount."),
    "a home folder": app('volumes: ["~/.ssh:/root/.ssh"]', "4: '~/.ssh' is a path on the server, which previews can't mount."),
    "the engine's socket": app(
        "volumes: [/var/run/docker.sock:/var/run/docker.sock]", "4: A preview can't mount the socket of a container engine"
    ),
    "podman's socket": app("volumes: [/run/podman/podman.sock:/s:ro]", "4: A preview can't mount the socket of a container engine"),
    "a path above": app('volumes: ["../other:/x"]', f"4: The source of the volume '../other' {LEAVES_OUT}."),
    "a path above, by a detour": app(
        'volumes: ["./folder/../../other:/x"]', "4: The source of the volume './folder/../../other' leads out"
    ),
    "a bind above": app(
        "volumes: [{type: bind, source: ../../etc, target: /x}]", "4: The source of the volume '../../etc' leads"
    ),
    "an absolute bind": app("volumes: [{type: bind, source: /etc, target: /x}]", "4: '/etc' is a path on the server"),
    "a path by a variable": app('volumes: ["${PWD}:/x"]', "4: '' isn't the name of a volume."),
    "a path by a variable's default": app('volumes: ["${X:-/etc}:/x"]', "4: '/etc' is a path on the server, which previews can't mount."),
    "a link out": app(
        'volumes: ["./link:/x"]', "4: './link' is a symbolic link out of the repository.", links={"link": "/etc"}
    ),
    "a file behind a link out": app(
        'volumes: ["./link/passwd:/x"]', "4: './link/passwd' is a symbolic link out", links={"link": "/etc"}
    ),
    "a link within": app('volumes: ["./link:/x"]', links={"link": "folder"}),
    "a circle of links": app(
        'volumes: ["./a:/x"]', "4: './a' is a symbolic link out of the repository.", links={"a": "b", "b": "a"}
    ),
    "a Windows path": app("volumes: ['C:\\data:/x']", "4: 'C:\\\\data:/x' isn't a volume."),
    "a backslash": app("volumes: ['.\\data:/x']", "4: '.\\\\data' is a path on the server, which previews can't mount."),
    "the root as the target": app('volumes: ["./folder:/"]', "4: '/' isn't an absolute path inside"),
    "a relative target": app('volumes: ["./folder:x"]', "4: 'x' isn't an absolute path inside"),
    "a missing file": app('volumes: ["./missing.conf:/x"]', "4: There is no file missing.conf in the repository."),
    "a volume that isn't declared": app('volumes: ["data:/x"]', "4: The volume 'data' isn't declared."),
    "a mode that isn't one": app('volumes: ["./folder:/x:exec"]', "4: './folder:/x:exec' isn't a volume."),
    "an env_file of the machine": app("env_file: /etc/environment", "4: `env_file` '/etc/environment' isn't a path"),
    "an env_file above": app("env_file: [../.env]", f"4: `env_file` '../.env' {LEAVES_OUT}."),
    "an env_file by a link": app(
        "env_file: secrets.env", "4: secrets.env isn't a file of", links={"secrets.env": "/etc/environment"}
    ),
    "an env_file of processes": app("env_file: /proc/self/environ", "4: `env_file` '/proc/self/environ' isn't a p"),
    "no env_file": app("env_file: /dev/null"),
    "a .env by a link": app('user: "${USER_OF_APP}"', links={".env": "/etc/environment"}),
    "secrets of the machine": Hostile(
        f"{HEAD}    secrets: [key]\nsecrets:\n  key: {{file: /root/.ssh/id_rsa}}\n",
        ("6: `file` '/root/.ssh/id_rsa' isn't a path in the repository.",),
    ),
    "configs above": Hostile(
        f"{HEAD}    configs: [c]\nconfigs:\n  c:\n    file: ../c\n", (f"7: `file` '../c' {LEAVES_OUT}.",)
    ),
    "a secret of the environment": Hostile(
        f"{HEAD}    secrets: [key]\nsecrets:\n  key:\n    environment: AWS_SECRET_ACCESS_KEY\n",
        ("7: `environment` of a secret or config isn't supported",),
    ),
    "an external secret": Hostile(
        f"{HEAD}    secrets: [key]\nsecrets:\n  key: {{external: true}}\n", ("6: `secrets.key` is external",)
    ),
    "a build above": Hostile("services: {app: {build: ..}}", (f"1: The build context '..' {LEAVES_OUT}.",)),
    "a build of the machine": Hostile("services: {app: {build: /src}}", ("1: The build context '/src' isn't a path",)),
    "a build from elsewhere": Hostile(
        "services: {app: {build: 'https://example.org/x.git'}}", ("1: The build context 'https://example.org/x.git'",)
    ),
    "a build by a link": Hostile(
        "services: {app: {build: ./link}}", ("1: The build context 'link' isn't a folder",), links={"link": "/usr"}
    ),
    "a Dockerfile above": build("dockerfile: ../Dockerfile", f"5: `dockerfile` '../Dockerfile' {LEAVES_OUT}."),
    "a Dockerfile that isn't there": build("dockerfile: no.Dockerfile", "3: There is no file no.Dockerfile"),
    "an include of the machine": Hostile(
        f"{HEAD}include: [/etc/compose.yaml]\n", ("4: The included file '/etc/compose.yaml' isn't a path",)
    ),
    "an include above": Hostile(f"{HEAD}include:\n  - ../c.yaml\n", (f"5: The included file '../c.yaml' {LEAVES_OUT}.",)),
    "an include from elsewhere": Hostile(
        f"{HEAD}include: ['oci://example.org/x']\n", ("4: The included file 'oci://example.org/x' isn't a path",)
    ),
    "an include that isn't there": Hostile(f"{HEAD}include: [no.yaml]\n", ("4: There is no file no.yaml",)),
    "an include of itself": Hostile(f"{HEAD}include: [compose.yaml]\n", ("4: The project has more than 20 files.",)),
    "an include by a link": Hostile(
        f"{HEAD}include: [l.yaml]\n", ("4: There is no file l.yaml",), links={"l.yaml": "/etc/compose.yaml"}
    ),
    "an include with the same service": Hostile(
        f"{HEAD}include: [b.yaml]\n",
        ("b.yaml:1: `services.app` is declared in compose.yaml:2 as well.",),
        files={"b.yaml": "services: {app: {image: b}}"},
    ),
    "extends of the machine": app("extends: {file: /etc/c.yaml, service: a}", "4: `file` of `extends` '/etc/c.yaml'"),
    "extends above": app("extends: {file: ../c.yaml, service: a}", "4: `file` of `extends` '../c.yaml' leads out"),
    "extends itself": app("extends: app", "4: Services extend one another in a circle"),
    "extends nothing": app("extends: other", "4: There is no service 'other' to extend."),
    # Namespaces and rights
    "privileged": app("privileged: true", "4: `privileged` of a service removes the container's confinement."),
    "privileged, as a text": app('privileged: "true"', "4: `privileged` of a service removes"),
    "not privileged": app("privileged: false"),
    "the machine's network": app("network_mode: host", "4: `network_mode` joins a namespace outside"),
    "another container's network": app("network_mode: container:other", "4: `network_mode` joins a namespace"),
    "another service's network": app("network_mode: service:db", "4: `network_mode` joins a namespace"),
    "the usual network": app("network_mode: bridge"),
    "the machine's processes": app("pid: host", "4: `pid` joins a namespace outside"),
    "the machine's IPC": app("ipc: host", "4: `ipc` joins a namespace outside"),
    "the machine's users": app("userns_mode: host", "4: `userns_mode` of a service would leave"),
    "the machine's cgroup": app("cgroup: host", "4: `cgroup` joins a namespace outside"),
    "a cgroup parent": app("cgroup_parent: /", "4: `cgroup_parent` of a service would leave"),
    "devices": app("devices: [/dev/kvm:/dev/kvm]", "4: `devices` of a service gives access to devices"),
    "rules of devices": app("device_cgroup_rules: ['a *:* rwm']", "4: `device_cgroup_rules` of a service gives"),
    "GPUs": app("gpus: all", "4: `gpus` of a service gives access"),
    "reserved GPUs": app(
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", "4: `devices` gives access"
    ),
    "all capabilities": app("cap_add: [ALL]", "4: `cap_add: ALL` gives a capability"),
    "one capability": app("cap_add: [CHOWN, CAP_SYS_ADMIN]", "4: `cap_add: CAP_SYS_ADMIN` gives a capability"),
    "usual capabilities": app("cap_add: [CHOWN, NET_BIND_SERVICE]"),
    "no seccomp": app("security_opt: ['seccomp:unconfined']", "4: `security_opt: seccomp:unconfined` weakens"),
    "no AppArmor": app("security_opt: [apparmor=unconfined]", "4: `security_opt: apparmor=unconfined` weakens"),
    "no SELinux": app("security_opt: ['label:disable']", "4: `security_opt: label:disable` weakens"),
    "new privileges": app("security_opt: ['no-new-privileges:false']", "4: `security_opt: no-new-privileges:f"),
    "no new privileges": app("security_opt: ['no-new-privileges:true', no-new-privileges]"),
    "sysctls": app("sysctls: {net.ipv4.ip_forward: 1}", "4: `sysctls` of a service changes kernel settings."),
    "volumes of others": app("volumes_from: ['container:other']", "4: `volumes_from` of a service isn't supported"),
    "links to others": app("external_links: [other]", "4: `external_links` of a service reaches containers"),
    "the engine's API": app("use_api_socket: true", "4: `use_api_socket` of a service gives access to the cont"),
    "a provider": app("provider: {type: rm, options: {}}", "4: `provider` of a service runs a program"),
    "credentials": app("credential_spec: {file: x}", "4: `credential_spec` of a service names credentials"),
    "a build with the machine's network": build("network: host", "5: `network` of `build` must be `default` or `none`."),
    "a build with SSH": build("ssh: [default]", "5: `ssh` of `build` gives the build keys"),
    "a build with secrets": build("secrets: [key]", "5: `secrets` of `build` isn't supported"),
    "a build with entitlements": build("entitlements: [security.insecure]", "5: `entitlements` of `build` weakens"),
    "a privileged build": build("privileged: true", "5: `privileged` of `build` weakens"),
    "a build with more contexts": build("additional_contexts: {etc: /etc}", "5: `additional_contexts` of `build` isn't"),
    "a build with hosts": build("extra_hosts: ['a:1.2.3.4']", "5: `extra_hosts` of `build` changes"),
    "a build of its own text": build("dockerfile_inline: FROM scratch", "5: `dockerfile_inline` of `build` isn't"),
    "a build with a cache": build("cache_from: ['type=local,src=/etc']"),
    "an external volume": Hostile(
        f'{HEAD}    volumes: ["data:/x"]\nvolumes:\n  data:\n    external: true\n', ("7: `volumes.data` is external",)
    ),
    "a volume with another driver": Hostile(
        f"{HEAD}volumes:\n  data:\n    driver: rclone\n", ("6: The driver 'rclone' of `volumes.data`",)
    ),
    "a volume of a host folder": Hostile(
        f"{HEAD}volumes:\n  data:\n    driver: local\n    driver_opts: {{type: none, o: bind, device: /etc}}\n",
        ("7: `driver_opts` of a volume can mount folders",),
    ),
    "an external network": Hostile(f"{HEAD}networks:\n  proxy: {{external: true}}\n", ("5: `networks.proxy` is ext",)),
    "an external network, in the old form": Hostile(
        f"{HEAD}networks:\n  proxy:\n    external: {{name: other}}\n", ("6: `networks.proxy` is external",)
    ),
    "a network on the machine's interface": Hostile(
        f"{HEAD}networks:\n  lan:\n    driver: macvlan\n", ("6: The driver 'macvlan' of `networks.lan`",)
    ),
    "a network that isn't declared": app("networks: [front]", "4: The network 'front' isn't declared."),
    # Variables of the server
    "a variable of the server": app("command: ['$HOME', '$PATH', '$USER']"),
    "a required variable": app("command: ['${HOME:?not here}']", "4: The variable HOME must be set. The file says"),
    "a list of variables": app("environment: [HOME, PATH, STAGER_SECRET_X]"),
    "an invalid variable": app("command: ['${HOME']", "4: '${HOME' isn't a variable."),
    "a command in a variable": app("command: ['$(id)']", "4: '$(id)' isn't a variable."),
    "an operator that isn't one": app("command: ['${A/b/c}']", "4: '${A/b/c}' isn't a variable."),
    "deep defaults": app("command: ['" + "${A:-" * 30 + "}" * 30 + "']", "4: Defaults of variables are nested"),
    "a value that grows": app(
        "command: ['${P}']",
        ".env:14: A value is longer than 32 KiB after",
        files={".env": "A=aaaaaaaa\n" + "".join(f"{b}=${{{a}}}${{{a}}}\n" for a, b in zip("ABCDEFGHIJKLMNO", "BCDEFGHIJKLMNOP", strict=True))},
    ),
    "a marker of ours": app('environment: {A: "\\0generated:B\\0"}', "4: A value has a NUL character."),
    "a marker of ours in an environment file": app(
        "env_file: a.env", "4: a.env isn't text.", files={"a.env": "A=\0generated:B\0\n"}
    ),
    "an environment file that isn't one": app(
        "env_file: file.conf", "file.conf:1: The line isn't `NAME=value`.", files={"file.conf": "= 1\n"}
    ),
    "an unclosed quotation mark": app("env_file: a.env", "a.env:2: A quotation mark", files={"a.env": 'B=1\nA="x\n'}),
    # YAML
    "an alias of itself": Hostile("x-a: &a [*a]\nservices: {app: {image: a}}", ("1: An alias refers to a value",)),
    "a bomb of aliases": Hostile(bomb(), ("6: Aliases expand to more than 50000 values.",)),
    "a tag of Python": app("command: !!python/object/apply:os.system [id]", "4: The tag '!!python/object/apply:os"),
    "a tag that isn't known": app("command: !include /etc/passwd", "4: The tag '!include' isn't supported."),
    "a key twice": app("image: other", "4: The key 'image' appears twice."),
    "a key that isn't text": app("1: a", "4: A key must be text."),
    "two documents": Hostile(f"{HEAD}---\nservices: {{}}\n", ("5: The file has more than one document.",)),
    "deep nesting": Hostile("x-a: " + "[" * 200 + "]" * 200 + "\nservices: {app: {image: a}}", ("1: The file is nest",)),
    "deeper nesting": Hostile("x-a: " + "[" * 20_000, ("0: The YAML is nested too deeply.",)),
    "invalid YAML": Hostile("services:\n  app: [\n", ("3: The YAML is invalid: ",)),
    "a tab": Hostile("services:\n\tapp: {}\n", ("2: The YAML is invalid: found character '\\t'",)),
    "not a mapping": Hostile("- a\n", ("1: A Compose file must be a mapping.",)),
    "an empty file": Hostile("", ("0: The file is empty",)),
    "a large file": Hostile("#" * 200_000 + f"\n{HEAD}", ("0: The file is larger than 128 KiB.",)),
    "not text": Hostile("services:\n  app: {image: '\x01'}\n", ("0: The YAML is invalid: unacceptable character",)),
    "no services": Hostile("volumes: {}\n", ("0: The file has no `services`.",)),
    "services in a list": Hostile("services: [app]\n", ("1: `services` must be a mapping.",)),
    "a service that isn't a mapping": Hostile("services:\n  app: 1\n", ("2: The service 'app' must be a mapping.", "2: The service 'app' has neither")),
    "the first version's form": Hostile("app:\n  image: a\n", ("1: `app` isn't a key of a Compose file.",)),
    # Mistakes
    "a key with a typing error": app("enviroment: {A: 1}", "4: `enviroment` isn't a key of a service."),
    "an extension": app("x-anything: {a: [1, 2]}"),
    "neither image nor build": Hostile("services:\n  app:\n    ports: [80]\n", ("2: The service 'app' has neither",)),
    "a port that isn't one": app("ports: ['80:http']", "4: '80:http' in `ports` isn't a port."),
    "a port that is too large": app("ports: ['80:70000']", "4: A port must be between 1 and 65535."),
    "a circle of dependencies": Hostile(
        "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: b, depends_on: [a]}\n",
        ("2: Services depend on one another in a circle: a -> b -> a.",),
        options={"web": "a"},
    ),
    "a dependency on itself": app("depends_on: [app]", "4: Services depend on one another in a circle: app -> app."),
    "a dependency that isn't there": app("depends_on: [db]", "4: app depends on 'db', which isn't a service."),
    "a dependency with another profile": Hostile(
        f"{HEAD}    depends_on: [db]\n  db: {{image: postgres, profiles: [dev]}}\n",
        ("4: app depends on 'db', which doesn't run with these profiles.",),
    ),
    "a condition that isn't one": app("depends_on: {db: {condition: ready}}", "4: 'ready' isn't a condition.", "4: app depends"),
    "a duration without a unit": app("stop_grace_period: 30", "4: `stop_grace_period` '30' isn't a duration."),
    "a size that isn't one": app("mem_limit: lots", "4: `mem_limit` 'lots' isn't a size."),
    "an unclosed quotation mark in a command": app("command: echo 'x", "4: `command` has a quotation mark"),
    "a check that isn't one": app("healthcheck: {test: [curl, localhost]}", "4: `test` must begin with NONE, CMD"),
    "an image that isn't one": app("user: 'a b'", "4: `user` 'a b' is invalid."),
    "an ambiguous main service": Hostile(
        f"{HEAD}    ports: [80]\n  other:\n    image: b\n    ports: [81]\n", ("2: The main service is one of app, other.",)
    ),
    "a main service that isn't there": Hostile(HEAD, ("0: `web` is 'site', but the services that run are app.",), options={"web": "site"}),
    "a main service that ends": app("x-stager-job: true", "2: The main service 'app' is one that runs to its end."),
    "only other profiles": app("profiles: [dev]", "0: No service runs."),
    "two names that are one": Hostile("services:\n  a.b: {image: a}\n  A-b: {image: b}\n", ("3: 'A-b' can't be the name of a service.",), options={"web": "a.b"}),
    "a name of another script": Hostile("services:\n  приложение: {image: a}\n", ("2: 'приложение' can't be the name",)),
    "a file outside": Hostile(HEAD, ("../compose.yaml:0: The Compose file '..' leads out",), options={"path": "../compose.yaml"}),
    "a file that isn't there": Hostile(HEAD, ("no.yaml:0: There is no file no.yaml",), options={"path": "no.yaml"}),
    "refusals of services that don't run": Hostile(f"{HEAD}  bad: {{image: a, privileged: true, profiles: [x]}}\n"),
    "many services": Hostile("services:\n" + "".join(f"  s{n}: {{image: a}}\n" for n in range(60)), ("0: 60 services run; at most 30 can.",), options={"web": "s0"}),
}  # fmt: skip
