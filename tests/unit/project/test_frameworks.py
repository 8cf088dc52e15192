"""Detection of frameworks, and the Dockerfiles that are generated for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from stager.project.dockerfile import exposed, first_port, instructions
from stager.project.frameworks.detect import detect, detect_all
from tests.unit.project.applications import APPLICATIONS, BUILT, GOLDEN, Files, make
from tests.unit.project.conftest import MakeTree

DETECTED = {
    "django": ("Django", "pip", 8000),
    "flask": ("Flask", "pip", 8000),
    "fastapi": ("FastAPI", "pip", 8000),
    "python-uv": ("Python", "uv", 8000),
    "python-procfile": ("Python", "pip", 8000),
    "python-poetry": ("Flask", "poetry", 8000),
    "python-pipenv": ("Quart", "pipenv", 8000),
    "django-in-folder": ("Django", "pip", 8000),
    "streamlit": ("Streamlit", "pip", 8501),
    "express": ("Express", "npm", 5000),
    "node-workspace": ("Node.js", "npm", 3000),
    "node-pnpm": ("Node.js", "pnpm", 4000),
    "node-yarn": ("Node.js", "yarn", 4000),
    "node-bun": ("Hono", "bun", 3000),
    "node-berry": ("Node.js", "yarn", 3000),
    "nest-native": ("NestJS", "npm", 3000),
    "next": ("Next.js", "npm", 3000),
    "next-exported": ("Next.js", "npm", 8080),
    "vite": ("Vite", "npm", 8080),
    "eleventy": ("Eleventy", "npm", 8080),
    "mkdocs": ("MkDocs", "pip", 8080),
    "hugo": ("Hugo", "", 8080),
    "jekyll": ("Jekyll", "bundler", 8080),
    "static": ("static files", "", 8080),
    "rails": ("Rails", "bundler", 3000),
    "sinatra": ("Sinatra", "bundler", 3000),
    "laravel": ("Laravel", "composer", 8080),
    "php": ("PHP", "", 8080),
    "go": ("Go", "", 9000),
    "go-in-cmd": ("Go", "", 8080),
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application(tmp_path: Path, name: str) -> None:
    [found] = detect_all(make(tmp_path, APPLICATIONS[name]))
    assert (found.framework, found.package_manager, found.port) == DETECTED[name]
    assert found.dockerfile == (GOLDEN / f"{name}.Dockerfile").read_text()
    assert first_port(exposed(found.dockerfile, {}), {}) == found.port
    arguments = [rest for keyword, rest in instructions(found.dockerfile) if keyword == "ARG"]
    assert arguments == [f"{name}={base}" for name, base in found.bases.items()]
    assert found.why


NPM = {"package.json": '{"workspaces": ["apps/*", "!apps/old"]}', "package-lock.json": "{}"}
PNPM = {
    "package.json": '{"packageManager": "pnpm@9.1.0", "engines": {"node": "20"}}',
    "pnpm-workspace.yaml": "packages: ['apps/**']\n",
    "pnpm-lock.yaml": "lockfileVersion: '9.0'\n",
}
YARN = {"package.json": '{"workspaces": {"packages": ["apps/*"]}}', "yarn.lock": "# yarn lockfile v1\n"}
NEXT = '{"scripts": {"build": "next build"}, "dependencies": {"next": "15"}}'
VITE = '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}'


class TestWorkspace:
    """An application below a folder with the lock file of all."""

    @pytest.mark.parametrize(
        ("root", "installed"),
        [
            (NPM, "npm ci --no-audit --no-fund"),
            (PNPM, "pnpm install --frozen-lockfile"),
            (YARN, "yarn install --frozen-lockfile"),
        ],
        ids=["npm", "pnpm", "yarn"],
    )
    def test_is_installed_by_the_lock_file_of_the_root(
        self, tree: MakeTree, root: Files, installed: str
    ) -> None:
        [found] = detect_all(tree({**root, "apps/web/package.json": NEXT}))
        assert (found.folder, found.context) == ("apps/web", ".")
        assert f" {installed}\n" in found.dockerfile
        assert "RUN cd apps/web && " in found.dockerfile
        assert "WORKDIR /app/apps/web\n" in found.dockerfile
        assert found.command[-1].endswith('exec next start --hostname 0.0.0.0 --port "$PORT"')
        assert "lock file of the workspace." in " ".join(found.why)

    def test_the_node_version_is_the_roots_if_it_has_none(self, tree: MakeTree) -> None:
        [found] = detect_all(tree({**PNPM, "apps/web/package.json": NEXT}))
        assert found.bases["NODE_BASE"] == "node:20-slim"
        own = tree({**PNPM, "apps/web/package.json": NEXT, "apps/web/.nvmrc": "18"})
        assert detect_all(own)[0].bases["NODE_BASE"] == "node:18-slim"

    def test_a_site_is_copied_from_its_folder(self, tree: MakeTree) -> None:
        [found] = detect_all(tree({**NPM, "apps/web/package.json": VITE}))
        assert "COPY --from=build /app/apps/web/dist /site\n" in found.dockerfile

    @pytest.mark.parametrize("folder", ["apps/old", "other", "apps2/web"])
    def test_a_folder_outside_of_it_has_its_own_context(self, tree: MakeTree, folder: str) -> None:
        [found] = detect_all(tree({**NPM, f"{folder}/package.json": NEXT}))
        assert (found.folder, found.context) == (folder, "")
        assert "npm install" in found.dockerfile

    @pytest.mark.parametrize(
        "broken",
        [
            *('{"workspaces": 1}', '{"workspaces": [1, {}]}', "[", "[]", '{"workspaces": ["**/**/**/**"]}'),
            f'{{"workspaces": ["{"**s" * 30}"]}}',  # takes years if it is matched
        ],
    )
    def test_a_broken_root_has_none(self, tree: MakeTree, broken: str) -> None:
        files = {"package.json": broken, "pnpm-workspace.yaml": "- [", "apps/web/package.json": NEXT}
        [found] = detect_all(tree(files))
        assert found.context == ""

    def test_a_folder_chosen_as_the_context_is_in_it(self, tree: MakeTree) -> None:
        found = detect(tree({**NPM, "apps/web/package.json": NEXT}).below("apps/web"))
        assert found is not None
        assert (found.folder, found.context) == (".", ".")


def test_every_dockerfile_is_of_an_application() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == APPLICATIONS.keys() == DETECTED.keys()
    assert BUILT.keys() < APPLICATIONS.keys()


def test_the_health_path_of_a_framework(tmp_path: Path) -> None:
    for name, path in (("rails", "/up"), ("laravel", "/up"), ("streamlit", "/_stcore/health"), ("vite", "")):
        found = detect(make(tmp_path / name, APPLICATIONS[name]))
        assert found is not None
        assert found.health_path == path


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "x"},
        {"requirements.txt": "requests\n", "tool.py": "print(1)\n"},
        {"package.json": '{"devDependencies": {"prettier": "3"}}'},
        {"package.json": "[1"},
        {"go.mod": "module x\n", "x.go": "package x\n"},
        {"composer.json": "{}"},
        {"Gemfile": 'gem "rspec"\n'},
        {"pyproject.toml": "["},
        {"pyproject.toml": '[project]\ndependencies = ["flask"]\n', "x.py": "import flask\n"},
    ],
)
def test_what_is_no_application(tree: MakeTree, files: Files) -> None:
    assert detect_all(tree(files)) == ()


def test_several_applications(tmp_path: Path) -> None:
    parts = {"api": "fastapi", "web": "vite", "docs": "mkdocs", "apps/admin": "express"}
    for folder, name in parts.items():
        make(tmp_path / folder, APPLICATIONS[name])
    found = detect_all(make(tmp_path, {"README.md": "", "package.json": "{}", "index.html": ""}))
    assert [(each.folder, each.framework) for each in found] == [
        ("api", "FastAPI"),
        ("web", "Vite"),
        ("apps/admin", "Express"),
    ]


def test_the_root_precedes_folders(tmp_path: Path) -> None:
    make(tmp_path / "frontend", APPLICATIONS["vite"])
    found = detect_all(make(tmp_path, APPLICATIONS["django"]))
    assert [(each.folder, each.framework) for each in found] == [(".", "Django")]


@pytest.mark.parametrize(
    ("files", "base"),
    [
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.13"\n'}, "python:3.13-slim"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.9,<3.12"\n'}, "python:3.11-slim"),
        ({"pyproject.toml": "[project]\n", ".python-version": "3.10.4\n"}, "python:3.10-slim"),
        ({"pyproject.toml": "[project]\n", "runtime.txt": "python-2.7"}, "python:3.12-slim"),
        ({"requirements.txt": "psycopg2>=2\n"}, "python:3.12"),
        ({"requirements.txt": "psycopg2-binary\n"}, "python:3.12-slim"),
    ],
)
def test_the_version_of_python(tree: MakeTree, files: Files, base: str) -> None:
    found = detect(tree({**files, "Procfile": "web: x\n"}))
    assert found is not None
    assert found.bases["PYTHON_BASE"] == base


@pytest.mark.parametrize(
    ("node", "files", "base"),
    [
        (">=18", {}, "node:22-slim"),
        ("^20 || ^22.1", {}, "node:22-slim"),
        ("20.x", {}, "node:20-slim"),
        (">=24.0.0", {}, "node:24-slim"),
        ("<19", {}, "node:18-slim"),
        ("", {".nvmrc": "v21.1.0\n"}, "node:21-slim"),
        ("lts/*", {".nvmrc": "lts/iron\n"}, "node:22-slim"),
    ],
)
def test_the_version_of_node(tree: MakeTree, node: str, files: Files, base: str) -> None:
    package = json.dumps({"engines": {"node": node}, "scripts": {"start": "node x.js"}})
    found = detect(tree({**files, "package.json": package}))
    assert found is not None
    assert found.bases["NODE_BASE"] == base


def test_a_procfile_decides_about_the_command(tree: MakeTree) -> None:
    files = {**APPLICATIONS["django"], "Procfile": "web: daphne shop.asgi:application -p $PORT\n"}
    found = detect(tree(files))
    assert found is not None
    assert found.command[2].endswith("\nexec daphne shop.asgi:application -p $PORT")
    assert "pip install daphne" in found.dockerfile


EVIL = "EVIL"
PAYLOADS = (
    "\nRUN EVIL\n",
    '"\nRUN EVIL\n#',
    "\\\nRUN EVIL",
    "'; EVIL; '",
    '"; EVIL; "',
    "$(EVIL)",
    "`EVIL`",
    " EVIL",
    "\r\nRUN EVIL\r\n",
    "\u2028RUN EVIL\u2028",
    "\x0bRUN EVIL\x85RUN EVIL",
    "$EVIL ${EVIL}",
    "\n# escape=`\nRUN EVIL`\n",
)


def poisoned(text: str) -> Iterator[str]:
    """The text with each payload at a place of its own, also as it is written in JSON."""
    for number, payload in enumerate(PAYLOADS):
        place = len(text) * number // (len(PAYLOADS) - 1)
        for word in (payload, json.dumps(payload)[1:-1]):
            yield text[:place] + word + text[place:]


def harmful(dockerfile: str) -> list[str]:
    """The lines that a payload reached, except a `CMD` in its JSON form."""
    lines = [line for line in dockerfile.split("\n") if EVIL in line]
    return [line for line in lines if not line.startswith("CMD [") or not _is_json(line[4:])]


def _is_json(text: str) -> bool:
    return all(isinstance(word, str) for word in json.loads(text)) and text.isascii() and text.isprintable()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_file_injects_nothing(tmp_path: Path, name: str) -> None:
    """Whatever a file has, none of it gets into an instruction of the build."""
    files: Mapping[str, str] = {**APPLICATIONS[name], ".nvmrc": "22", ".python-version": "3.12"}
    tree = make(tmp_path, files)
    reached = 0
    for path, text in files.items():
        for poison in poisoned(text):
            (tmp_path / path).write_bytes(poison.encode())
            for found in detect_all(tree):
                assert harmful(found.dockerfile) == [], (path, poison)
                reached += 1
        (tmp_path / path).write_text(text)
    assert reached, "some of them are still detected"


@pytest.mark.parametrize("payload", [payload.replace("/", "") for payload in PAYLOADS])
@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("django-in-folder", "backend"),
        ("django", "shop"),
        ("flask", "shop"),
        ("fastapi", "src"),
        ("go-in-cmd", "cmd"),
        ("go-in-cmd", "server"),
        ("static", "public"),
        ("node-workspace", "web"),
    ],
)
def test_a_name_injects_nothing(tmp_path: Path, name: str, old: str, payload: str) -> None:
    """Neither does the name of a file or a folder."""
    renamed = {path.replace(old, old + payload): text for path, text in APPLICATIONS[name].items()}
    for found in detect_all(make(tmp_path, renamed)):
        assert harmful(found.dockerfile) == []
