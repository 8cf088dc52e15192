"""Node.js's package managers: what a `package.json` says, and the instructions that install it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stager.project.frameworks.node_workspaces import Workspace, find_workspace
from stager.project.tree import Tree

DEFAULT_NODE = 22
OLDEST_NODE = 16

COMPILED = frozenset({"node-gyp", "node-addon-api", "nan", "canvas", "node-pty", "usb", "serialport"})
"""Packages that are compiled when they are installed, which the slim image can't."""

_LIFECYCLE = ("preinstall", "install", "postinstall", "prepare", "preprepare", "postprepare")
"""Scripts that run during an installation (https://docs.npmjs.com/cli/using-npm/scripts)."""

_VERSION = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,4}")
_MAJOR = re.compile(r"v?(\d{1,2})(?![\d])")


@dataclass(frozen=True, slots=True)
class NodePackages:
    """What a `package.json` says.

    Args:
        manager: `npm`, `yarn`, `pnpm` or `bun`.
        version: the package manager's version; empty for the one that the base image has.
        lock: the name of the lock file; empty for none.
        copied: the files that an installation needs.
        needs_sources: whether an installation needs the project's other files.
        node: the major version of Node.js.
        dependencies: the names of the dependencies, with those for development.
        scripts: the scripts, by name.
        main: the entry of `main`; empty for none.
        workspace: the application's place in a workspace; None outside of one. Manager, lock file and
            configuration are those of the workspace then.
    """

    manager: str
    version: str
    lock: str
    copied: tuple[str, ...]
    needs_sources: bool
    node: int
    dependencies: frozenset[str]
    scripts: dict[str, str]
    main: str = ""
    workspace: Workspace | None = None

    @property
    def run_base(self) -> str:
        """The public base image that the application runs in."""
        return f"node:{self.node}-slim"

    @property
    def build_base(self) -> str:
        """The public base image that the dependencies are installed in."""
        return f"node:{self.node}" if self.dependencies & COMPILED else self.run_base

    @property
    def folder(self) -> str:
        """The application's folder in the image."""
        return f"/app/{self.workspace.path}" if self.workspace else "/app"

    @property
    def context(self) -> str:
        """The build context, relative to the repository's root; empty for the application's own folder."""
        return self.workspace.tree.folder if self.workspace else ""

    def run(self, script: str) -> str:
        """The command that runs a script."""
        return f"{self.manager} run {script}"

    def inside(self, command: str) -> str:
        """The command that runs another one in the application's folder, from `/app`."""
        return f"cd {self.workspace.path} && {command}" if self.workspace else command

    def paths(self) -> list[str]:
        """The instruction after which programs of the packages are found: those of a workspace are beside
        its lock file, or beside the application."""
        if self.workspace is None:
            return []
        return [f"ENV PATH={self.folder}/node_modules/.bin:/app/node_modules/.bin:$PATH"]


def read_packages(tree: Tree) -> NodePackages | None:
    """Return what the `package.json` says; None without one that can be read."""
    data = tree.json("package.json")
    if not data:
        return None
    workspace = find_workspace(tree)
    shared = workspace.tree if workspace else tree
    manager, version, lock = _manager(shared, shared.json("package.json"))
    configuration = (".npmrc", ".yarnrc.yml", ".yarnrc", "pnpm-workspace.yaml", ".pnpmfile.cjs")
    copied = [name for name in ("package.json", lock, *configuration) if name and tree.has(name)]
    scripts = _texts(data.get("scripts"))
    return NodePackages(
        manager=manager,
        version=version,
        lock=lock,
        copied=tuple(copied),
        needs_sources=bool(workspace) or _needs_sources(tree, data, scripts),
        node=_node(tree, shared, data),
        dependencies=frozenset(_texts(data.get("dependencies")) | _texts(data.get("devDependencies"))),
        scripts=scripts,
        main=data["main"] if isinstance(data.get("main"), str) else "",
        workspace=workspace,
    )


def install(packages: NodePackages, *, production: bool) -> list[str]:
    """Return the instructions that install the dependencies into the working directory and copy the rest.

    Args:
        production: whether those for development are left out.
    """
    before = ["COPY . ."] if packages.needs_sources else [f"COPY {' '.join(packages.copied)} ./"]
    after = [] if packages.needs_sources else ["COPY . ."]
    return [*_manager_itself(packages), *before, _installing(packages, production), *after]


def prune(packages: NodePackages) -> list[str]:
    """Return the instructions that remove the dependencies for development after a build."""
    if packages.manager == "pnpm" and packages.workspace:
        return []  # `pnpm prune` doesn't support workspaces (https://pnpm.io/cli/prune)
    if packages.manager == "npm":
        return ["RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund"]
    return ["RUN CI=true pnpm prune --prod --ignore-scripts"] if packages.manager == "pnpm" else []


def _manager_itself(packages: NodePackages) -> list[str]:
    package = {"yarn": "yarn", "pnpm": "pnpm", "bun": "bun"}.get(packages.manager)
    if package is None:
        return []
    if packages.manager == "yarn" and not packages.version.startswith("1."):
        package = "@yarnpkg/cli-dist"
    return [f"RUN npm install --global --force {package}@{packages.version}"]


def _installing(packages: NodePackages, production: bool) -> str:
    berry = packages.manager == "yarn" and not packages.version.startswith("1.")
    cache, command = {
        "npm": ("/root/.npm", _npm(packages, production)),
        "yarn": ("/root/.yarn" if berry else "/usr/local/share/.cache/yarn", _yarn(packages, production)),
        "pnpm": (
            "/root/.local/share/pnpm/store",
            f"pnpm install{' --frozen-lockfile' if packages.lock else ''}{' --prod' if production else ''}",
        ),
        "bun": ("/root/.bun/install/cache", "bun install" + (" --production" if production else "")),
    }[packages.manager]
    return f"RUN --mount=type=cache,target={cache} {command}"


def _npm(packages: NodePackages, production: bool) -> str:
    base = "npm ci" if packages.lock else "npm install"
    return f"{base}{' --omit=dev' if production else ''} --no-audit --no-fund"


def _yarn(packages: NodePackages, production: bool) -> str:
    if not packages.version.startswith("1."):
        return "YARN_NODE_LINKER=node-modules yarn install --immutable"
    return f"yarn install --frozen-lockfile{' --production' if production else ''}"


def _manager(tree: Tree, data: dict[str, Any]) -> tuple[str, str, str]:
    """The package manager, its version, and the lock file."""
    named, _, version = str(data.get("packageManager", "")).partition("@")
    found = _VERSION.match(version)
    exact = found[0] if found else ""
    if tree.has("pnpm-lock.yaml"):
        return "pnpm", (exact if named == "pnpm" else "") or _pnpm_version(tree), "pnpm-lock.yaml"
    if tree.has("yarn.lock"):
        is_classic = "# yarn lockfile v1" in tree.text("yarn.lock") or not tree.has(".yarnrc.yml")
        return "yarn", (exact if named == "yarn" else "") or ("1.22.22" if is_classic else "4"), "yarn.lock"
    lock = tree.first("package-lock.json", "npm-shrinkwrap.json")
    if not lock and (bun := tree.first("bun.lock", "bun.lockb")):
        return "bun", (exact if named == "bun" else "") or "1", bun
    return "npm", "", lock


def _pnpm_version(tree: Tree) -> str:
    """The version that writes this format of lock file."""
    found = re.search(r"^lockfileVersion:\s*'?(\d+)", tree.text("pnpm-lock.yaml"), re.MULTILINE)
    return {"5": "7", "6": "8"}.get(found[1] if found else "", "9")


def _needs_sources(tree: Tree, data: dict[str, Any], scripts: dict[str, str]) -> bool:
    """Whether an installation runs scripts of the project, or installs folders of it."""
    groups = (_texts(data.get(key)) for key in ("dependencies", "devDependencies"))
    versions = [version for group in groups for version in group.values()]
    is_local = any(version.startswith(("file:", "link:", "workspace:", "portal:")) for version in versions)
    has_parts = "workspaces" in data or tree.has("pnpm-workspace.yaml") or tree.has("binding.gyp")
    has_patches = tree.has_folder("patches") or tree.has_folder(".yarn")
    return is_local or has_parts or has_patches or any(name in scripts for name in _LIFECYCLE)


def _node(tree: Tree, shared: Tree, data: dict[str, Any]) -> int:
    engines = _texts(data.get("engines")) or _texts(shared.json("package.json").get("engines"))
    files = [each.text(name) for each in (tree, shared) for name in (".nvmrc", ".node-version")]
    for text in files:
        found = _MAJOR.match(text.strip())
        if found and int(found[1]) >= OLDEST_NODE:
            return int(found[1])
    return _satisfying(engines.get("node", ""))


def _satisfying(engines: str) -> int:
    """A major version for `engines.node`: the default one where it is allowed, else the next allowed one."""
    lowest, highest = OLDEST_NODE, 99
    numbers = []
    for operator, major in re.findall(r"(>=|<=|<|>|\^|~|=)?\s*v?(\d{1,2})(?:\.[\dx*]+)*", engines[:200]):
        number = int(major)
        if operator in (">=", ">"):
            lowest = max(lowest, number)
        elif operator == "<":
            highest = min(highest, number - 1)
        elif operator == "<=":
            highest = min(highest, number)
        else:
            numbers.append(number)
    if numbers:
        return DEFAULT_NODE if DEFAULT_NODE in numbers else max(*numbers, OLDEST_NODE)
    return max(min(DEFAULT_NODE, highest), lowest)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: entry for key, entry in value.items() if isinstance(entry, str)}
