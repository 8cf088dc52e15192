"""Node.js: Next.js, Express and other servers, and sites that Vite, Eleventy and others build."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stager.project.detected import Detected
from stager.project.frameworks.node_packages import NodePackages, install, prune, read_packages
from stager.project.frameworks.text import (
    STATIC_BASE,
    STATIC_COMMAND,
    STATIC_PORT,
    dockerfile,
    is_safe_path,
    running,
    static_site,
    with_port,
)
from stager.project.procfile import RELEASE, WEB, read_procfile
from stager.project.tree import Tree

PORT = 3000

_SERVERS = {
    "next": "Next.js",
    "nuxt": "Nuxt",
    "@remix-run/serve": "Remix",
    "@react-router/serve": "React Router",
    "@nestjs/core": "NestJS",
    "@sveltejs/adapter-node": "SvelteKit",
    "@strapi/strapi": "Strapi",
    "express": "Express",
    "fastify": "Fastify",
    "koa": "Koa",
    "@hapi/hapi": "hapi",
    "hono": "Hono",
}
"""Frameworks with a server, by the dependency that shows them: the most specific first."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A tool that builds a static site.

    Args:
        output: the folder that it writes.
        is_single_page: whether a router in the browser resolves paths.
        build: the command, if there is no script `build`.
    """

    name: str
    output: str
    is_single_page: bool = False
    build: str = ""


_SITES = {
    "@11ty/eleventy": _Site("Eleventy", "_site", build="npx @11ty/eleventy"),
    "astro": _Site("Astro", "dist", build="npx astro build"),
    "gatsby": _Site("Gatsby", "public", build="npx gatsby build"),
    "@docusaurus/core": _Site("Docusaurus", "build", build="npx docusaurus build"),
    "vitepress": _Site("VitePress", ".vitepress/dist", build="npx vitepress build"),
    "react-scripts": _Site("Create React App", "build", is_single_page=True),
    "@angular/cli": _Site("Angular", "dist", is_single_page=True),
    "@vue/cli-service": _Site("Vue CLI", "dist", is_single_page=True),
    "parcel": _Site("Parcel", "dist", is_single_page=True, build="npx parcel build"),
    "vite": _Site("Vite", "dist", is_single_page=True, build="npx vite build"),
}

_OUTPUT = {
    "Eleventy": re.compile(r"""output\s*:\s*["']([\w./-]+)["']"""),
    "Vite": re.compile(r"""outDir\s*:\s*["']([\w./-]+)["']"""),
    "Astro": re.compile(r"""outDir\s*:\s*["']([\w./-]+)["']"""),
}
"""The settings of output folders, as they are usually written."""

_CONFIGURATIONS = {
    "Eleventy": (".eleventy.js", "eleventy.config.js", "eleventy.config.mjs", "eleventy.config.cjs"),
    "Vite": ("vite.config.ts", "vite.config.js", "vite.config.mjs", "vite.config.mts"),
    "Astro": ("astro.config.mjs", "astro.config.ts", "astro.config.js"),
    "Next.js": ("next.config.js", "next.config.mjs", "next.config.ts"),
}

_NODE = re.compile(r"node ((?:\./)?[\w./-]+)", re.ASCII)
_LISTENED = re.compile(r"(?:PORT\s*(?:\|\||\?\?)\s*|listen\(\s*)(\d{2,5})\b")
_ENTRIES = (
    *("server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs"),
    *("src/server.js", "src/index.js", "src/app.js", "src/server.mjs", "src/index.mjs"),
)
_SOURCES = (*_ENTRIES, "server.ts", "src/index.ts", "src/main.ts", "src/server.ts", "src/app.ts")
_STARTS = {
    "Next.js": 'node_modules/.bin/next start --hostname 0.0.0.0 --port "$PORT"',
    "Nuxt": "HOST=0.0.0.0 exec node .output/server/index.mjs",
    "SvelteKit": "node build/index.js",
    "NestJS": "node dist/main.js",
}
"""What starts the result of a framework's build."""


def detect(tree: Tree) -> Detected | None:
    """Return the Node.js application of a folder; None for none."""
    packages = read_packages(tree)
    if packages is None:
        return None
    procfile = read_procfile(tree)
    server = next((name for key, name in _SERVERS.items() if key in packages.dependencies), "")
    if server == "Next.js" and _is_exported(tree):
        return _site(tree, packages, _Site("Next.js", "out"))
    site = next((site for key, site in _SITES.items() if key in packages.dependencies), None)
    if site and not server and WEB not in procfile and not _serves(packages):
        return _site(tree, packages, site)
    command = _command(tree, packages, procfile, server)
    if not command:
        return None
    return _server(tree, packages, server or "Node.js", command, procfile)


def _server(
    tree: Tree, packages: NodePackages, framework: str, command: str, procfile: dict[str, str]
) -> Detected:
    before = (procfile[RELEASE],) if RELEASE in procfile else ()
    port = _port(tree)
    start = with_port(command, port, *before)
    bases = {"NODE_BASE": packages.run_base, "NODE_BUILD_BASE": packages.build_base}
    is_built = "build" in packages.scripts
    built = [f"RUN {packages.inside(packages.run('build'))}", *prune(packages)] if is_built else []
    text = dockerfile(
        framework,
        packages.manager,
        tuple(f"ARG {name}={base}" for name, base in bases.items()),
        (
            "FROM ${NODE_BUILD_BASE} AS build",
            "WORKDIR /app",
            *packages.paths(),
            *install(packages, production=not is_built),
            *built,
        ),
        (
            "FROM ${NODE_BASE}",
            "ENV NODE_ENV=production",
            *_manager_of(packages, command),
            "COPY --from=build --chown=1000:1000 /app /app",
            f"WORKDIR {packages.folder}",
            *packages.paths(),
            *running(start, port),
        ),
    )
    return Detected(
        framework=framework,
        package_manager=packages.manager,
        port=port,
        command=start,
        dockerfile=text,
        why=_why(packages, framework, procfile),
        bases=bases,
        notes=_notes(packages),
        context=packages.context,
    )


def _manager_of(packages: NodePackages, command: str) -> list[str]:
    """The package manager in the image that runs, if the command needs it."""
    if packages.manager == "npm" or packages.manager not in command.split():
        return []
    package = "@yarnpkg/cli-dist" if packages.manager == "yarn" and packages.version[:2] != "1." else ""
    return [f"RUN npm install --global --force {package or packages.manager}@{packages.version}"]


def _site(tree: Tree, packages: NodePackages, site: _Site) -> Detected:
    script = next((name for name in ("build", "docs:build") if name in packages.scripts), "")
    if not script and not site.build:
        script = "build"
    bases = {"NODE_BASE": packages.build_base, "STATIC_BASE": STATIC_BASE}
    text = dockerfile(
        site.name,
        packages.manager,
        tuple(f"ARG {name}={base}" for name, base in bases.items()),
        (
            "FROM ${NODE_BASE} AS build",
            "WORKDIR /app",
            *packages.paths(),
            *install(packages, production=False),
            f"RUN {packages.inside(packages.run(script) if script else site.build)}",
        ),
        static_site(f"{packages.folder}/{_output(tree, packages, site)}", is_single_page=site.is_single_page),
    )
    return Detected(
        framework=site.name,
        package_manager=packages.manager,
        port=STATIC_PORT,
        command=STATIC_COMMAND,
        dockerfile=text,
        why=_why(packages, site.name, {}),
        bases=bases,
        notes=_notes(packages),
        context=packages.context,
    )


def _output(tree: Tree, packages: NodePackages, site: _Site) -> str:
    """The folder that the build writes, as far as its configuration shows it."""
    if site.name == "VitePress":
        folder = "docs/" if tree.has_folder("docs/.vitepress") else ""
        return folder + site.output
    if site.name == "Eleventy":
        found = re.search(r"--output[= ]([\w./-]+)", packages.scripts.get("build", ""))
        if found and is_safe_path(found[1]):
            return found[1]
    for name in _CONFIGURATIONS.get(site.name, ()):
        found = _OUTPUT[site.name].search(tree.text(name)) if site.name in _OUTPUT else None
        path = found[1].removeprefix("./").rstrip("/") if found else ""
        if is_safe_path(path):
            return path
    return site.output


def _is_exported(tree: Tree) -> bool:
    exported = re.compile(r"""output\s*:\s*["']export["']""")
    return any(exported.search(tree.text(name)) for name in _CONFIGURATIONS["Next.js"])


def _serves(packages: NodePackages) -> bool:
    """Whether the script `start` runs a program of the project, not a tool's development server."""
    return bool(_NODE.match(packages.scripts.get("start", "")))


def _command(tree: Tree, packages: NodePackages, procfile: dict[str, str], server: str) -> str:
    """The line of shell that starts the application; empty if nothing says how."""
    if WEB in procfile:
        return procfile[WEB]
    start = packages.scripts.get("start", "").strip()
    node = _NODE.fullmatch(start)
    if node:
        return f"node {node[1]}"
    if server in _STARTS and (not start or server == "NestJS" or start == "next start"):
        return _STARTS[server].removeprefix("node_modules/.bin/" if packages.workspace else "")
    if start:
        return f"{packages.manager} run start"
    entry = packages.main if is_safe_path(packages.main) and tree.has(packages.main) else ""
    entry = entry or tree.first(*_ENTRIES)
    is_server = bool(server) or "createServer" in tree.text(entry)
    program = "bun" if packages.manager == "bun" else "node"
    return f"{program} {entry}" if entry and is_server else ""


def _port(tree: Tree) -> int:
    """The port that the entry's source names as its default."""
    for path in _SOURCES:
        found = _LISTENED.search(tree.text(path))
        if found and 1024 <= int(found[1]) < 1 << 16:
            return int(found[1])
    return PORT


def _why(packages: NodePackages, framework: str, procfile: dict[str, str]) -> tuple[str, ...]:
    named = f"package.json has {framework} among the dependencies."
    first = named if framework != "Node.js" else "package.json has a script or an entry that starts a server."
    where = " of the workspace" if packages.workspace else ""
    lock = f"{packages.lock} is {packages.manager}'s lock file{where}." if packages.lock else ""
    command = "Procfile has the command." if WEB in procfile else ""
    return tuple(filter(None, (first, lock, command)))


def _notes(packages: NodePackages) -> tuple[str, ...]:
    if packages.lock:
        return ()
    return ("There is no lock file, so each build may install other versions.",)
