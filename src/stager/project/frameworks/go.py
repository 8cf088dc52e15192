"""Go modules with one program."""

from __future__ import annotations

import re

from stager.project.detected import Detected
from stager.project.frameworks.text import dockerfile, is_safe_path, running, with_port
from stager.project.procfile import RELEASE, WEB, read_procfile
from stager.project.tree import Tree

PORT = 8080
DEFAULT_GO = "1.23"
RUN_BASE = "debian:bookworm-slim"

_GO = re.compile(r"^(?:go|toolchain go)[ ]?(1\.\d{1,2})", re.MULTILINE)
_MAIN = re.compile(r"^package main\b", re.MULTILINE)
_LISTENED = re.compile(r"""["'`]:(\d{4,5})["'`]|PORT["'`].{0,80}?["'`](\d{4,5})["'`]""", re.DOTALL)
_NATIVE = ("mattn/go-sqlite3", "confluent-kafka-go", "h2non/bimg")
"""Modules that need a C compiler."""


def detect(tree: Tree) -> Detected | None:
    """Return the Go program of a folder; None for none, or for several."""
    module = tree.text("go.mod")
    main = _main(tree) if module else ""
    if not main:
        return None
    procfile = read_procfile(tree)
    release = (procfile[RELEASE],) if RELEASE in procfile else ()
    port = _port(tree, main)
    command = with_port(procfile.get(WEB, "server"), port, *release)
    bases = {"GO_BASE": f"golang:{_go(module)}-bookworm", "RUN_BASE": RUN_BASE}
    is_native = any(name in module for name in _NATIVE)
    target = "." if main == "main.go" else f"./{main.rpartition('/')[0]}"
    sums = " go.sum" if tree.has("go.sum") else ""
    text = dockerfile(
        "Go",
        "",
        tuple(f"ARG {name}={base}" for name, base in bases.items()),
        (
            "FROM ${GO_BASE} AS build",
            "WORKDIR /app",
            *([] if "\nreplace" in module else [f"COPY go.mod{sums} ./", "RUN go mod download"]),
            "COPY . .",
            "RUN --mount=type=cache,target=/root/.cache/go-build "
            f"CGO_ENABLED={int(is_native)} go build -trimpath -o /bin/server {target}",
        ),
        (
            "FROM ${RUN_BASE}",
            "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/",
            "COPY --from=build --chown=1000:1000 /app /app",
            "WORKDIR /app",
            "COPY --from=build /bin/server /usr/local/bin/server",
            *running(command, port),
        ),
    )
    return Detected(
        framework="Go",
        package_manager="",
        port=port,
        command=command,
        dockerfile=text,
        why=("go.mod has the module.", f"{main} has the package main."),
        bases=bases,
    )


def _main(tree: Tree) -> str:
    """The file of the only program: at the root, or the only one below `cmd`."""
    programs = [path for path in tree.matching("*.go") if _is_program(path) and _MAIN.search(tree.text(path))]
    if any("/" not in path for path in programs):
        return "main.go"
    folders = {path.rpartition("/")[0]: path for path in programs}
    named = {folder: path for folder, path in folders.items() if _NAMED.search(folder)}
    chosen = folders if len(folders) == 1 else named
    return next(iter(chosen.values())) if len(chosen) == 1 else ""


_NAMED = re.compile(r"(^|/)(server|web|api|app)$")


def _is_program(path: str) -> bool:
    shallow = path.count("/") <= 3 and not path.endswith("_test.go")
    return shallow and is_safe_path(path) and not path.startswith(("examples/", "example/", "tools/"))


def _port(tree: Tree, main: str) -> int:
    found = _LISTENED.search(tree.text(main))
    port = int(found[1] or found[2]) if found else PORT
    return port if 1024 <= port < 1 << 16 else PORT


def _go(module: str) -> str:
    """The Go version of a module, at least one that still gets fixes: newer ones build older modules."""
    minors = [int(version.partition(".")[2]) for version in _GO.findall(module)]
    return f"1.{max([*minors, int(DEFAULT_GO.partition('.')[2])])}"
