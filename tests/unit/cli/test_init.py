"""`stager init`: what it writes, asks, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from stager.cli.init import mount
from stager.settings.loading.loader import load
from stager.settings.repository_file import RepositoryFile, read_file

FLASK = {"requirements.txt": "flask\n", "app.py": "import flask\napp = flask.Flask(__name__)\n"}
VITE = {"package.json": '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}'}


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


class Repository:
    """A folder in which the command runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._app = typer.Typer()
        mount(self._app)

    def add(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def run(self, *arguments: str, answers: str = "") -> Result:
        return CliRunner().invoke(self._app, [str(self.folder), *arguments], input=answers)

    @property
    def file(self) -> str:
        return "\n".join((self.folder / ".stager.yml").read_text().splitlines()[1:])

    def snippet(self, result: Result) -> str:
        """The server's lines."""
        return result.output.partition("config.yml:\n\n")[2].partition("\nNext:")[0]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "shop").mkdir()
    return Repository(tmp_path / "shop")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for a terminal at both ends."""
    monkeypatch.setattr("stager.cli.init._is_terminal", lambda: True)


@pytest.mark.parametrize(
    ("files", "written"),
    [
        (FLASK, "build: auto\nport: 8000"),
        ({**FLASK, "Dockerfile": "FROM a\nEXPOSE 5000\n"}, "build: .\nport: 5000"),
        ({**FLASK, "Dockerfile": "FROM a\n"}, "build: .\nport: 8000"),
        ({"Dockerfile": "FROM a\n"}, "build: ."),
        (
            {"docker/web.Dockerfile": "FROM a\nEXPOSE 80\n"},
            "build:\n  context: .\n  dockerfile: docker/web.Dockerfile\nport: 80",
        ),
        (below("api", FLASK), "build:\n  auto: true\n  context: api\nport: 8000"),
        (below("auto", {**FLASK, "Dockerfile": "FROM a\n"}), 'build: "./auto"\nport: 8000'),
        (below("true", {**FLASK, "Dockerfile": "FROM a\n"}), 'build: "true"\nport: 8000'),
    ],
)
def test_what_it_writes(repository: Repository, files: dict[str, str], written: str) -> None:
    repository.add(files)
    result = repository.run()
    assert result.exit_code == 0, result.output
    assert repository.file == written
    content = (repository.folder / ".stager.yml").read_bytes()
    parsed = read_file(content, ".stager.yml", RepositoryFile.model_fields)
    assert parsed.build is not None


def test_the_servers_lines_are_valid(repository: Repository, tmp_path: Path) -> None:
    repository.add(FLASK)
    repository.add({".env.example": "SECRET_KEY=\nTHEME=dark\n"})
    repository.add({".git/config": '[remote "origin"]\n\turl = git@github.com:acme/shop-app.git\n'})
    result = repository.run()
    lines = repository.snippet(result)
    (tmp_path / "config.yml").write_text(lines)
    app = load(tmp_path / "config.yml", environ={}).settings.applications.get("shop-app")
    assert (app.owner, app.repository, app.build and app.build.auto) == ("acme", "shop-app", True)
    assert '#   SECRET_KEY: "${SECRET_KEY}"' in lines
    assert "Variables to set: SECRET_KEY." in result.output


def test_the_servers_lines_are_written(repository: Repository, tmp_path: Path) -> None:
    repository.add(FLASK)
    result = repository.run("--config", str(tmp_path / "config.yml"))
    assert (tmp_path / "config.yml").read_text() == "images:\n  shop:\n    build: auto\n"
    assert "config.yml:\n" not in result.output


def test_the_generated_dockerfile_is_written(repository: Repository) -> None:
    repository.add(FLASK)
    assert repository.run("--dockerfile").exit_code == 0
    assert "app:app" in (repository.folder / "Dockerfile").read_text()
    assert ".git" in (repository.folder / ".dockerignore").read_text()
    assert repository.file == "build: .\nport: 8000"


def test_the_generated_dockerfile_of_a_workspace_is_built_at_its_root(repository: Repository) -> None:
    repository.add({**below("apps/web", VITE), "package.json": '{"workspaces": ["apps/*"]}'})
    assert repository.run("--yes").exit_code == 0
    assert repository.file == "build:\n  auto: true\n  context: apps/web\nport: 8080"
    assert repository.run("--yes", "--force", "--dockerfile").exit_code == 0
    assert repository.file == "build:\n  context: .\n  dockerfile: apps/web/Dockerfile\nport: 8080"
    assert (repository.folder / "apps" / "web" / "Dockerfile.dockerignore").is_file()


@pytest.mark.parametrize("name", ["Dockerfile", ".stager.yml", ".dockerignore"])
def test_nothing_is_overwritten(repository: Repository, name: str) -> None:
    repository.add({**FLASK, name: "mine"})
    before = sorted(repository.folder.iterdir())
    result = repository.run("--dockerfile")
    if name == ".dockerignore":
        assert result.exit_code == 0
    else:
        assert (result.exit_code, "--force overwrites" in result.output) == (1, True)
        assert sorted(repository.folder.iterdir()) == before
    assert (repository.folder / name).read_text() == "mine"
    assert repository.run("--dockerfile", "--force").exit_code == 0


def test_a_dangling_link_is_not_followed(repository: Repository, tmp_path: Path) -> None:
    repository.add(FLASK)
    (repository.folder / ".stager.yml").symlink_to(tmp_path / "elsewhere")
    assert repository.run().exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_several_applications(repository: Repository) -> None:
    repository.add(below("api", FLASK) | below("web", VITE))
    result = repository.run()
    assert '1. Flask with pip, in the folder "api"' in result.output
    assert "--context chooses another" in result.output
    assert repository.run("--context", "web", "--force").exit_code == 0
    assert "context: web" in repository.file
    result = repository.run("--context", "other", "--force")
    assert (result.exit_code, "Found: api, web." in result.output) == (1, True)


@pytest.mark.usefixtures("terminal")
def test_it_asks_three_questions(repository: Repository) -> None:
    repository.add(below("api", {**FLASK, "Dockerfile": "FROM a\n"}))
    repository.add(below("web", {**VITE, "Dockerfile": "FROM a\n"}))
    result = repository.run(answers="3\n1\n99999\n5173\nhealthz\n")
    assert result.exit_code == 0, result.output
    assert repository.file == "build: web\nport: 5173\nhealth_path: /healthz"


@pytest.mark.usefixtures("terminal")
def test_the_guesses_are_the_defaults(repository: Repository) -> None:
    repository.add(FLASK)
    assert repository.run(answers="\n").exit_code == 0
    assert repository.file == "build: auto\nport: 8000"
    assert repository.run("--yes", "--force", answers="").exit_code == 0


@pytest.mark.parametrize(
    ("files", "words"),
    [({}, "No Dockerfile was found, and no framework"), ({"README.md": ""}, "Procfile with a line `web:`")],
)
def test_nothing_is_found(repository: Repository, files: dict[str, str], words: str) -> None:
    repository.add(files)
    result = repository.run()
    assert (result.exit_code, words in result.output) == (1, True)
    assert not (repository.folder / ".stager.yml").exists()


def test_a_folder_within_a_repository(repository: Repository) -> None:
    repository.add({**below("web", VITE), ".git/HEAD": ""})
    result = Repository(repository.folder / "web").run()
    assert (result.exit_code, f"Run `stager init {repository.folder}`" in result.output) == (1, True)


def test_what_it_says_beside_the_file(repository: Repository) -> None:
    compose = "services: {web: {build: .}, db: {image: postgres}}"
    repository.add({"Dockerfile": "FROM a\n", "compose.yaml": compose})
    result = repository.run()
    assert "compose.yaml has further services: db. Write `compose: true` into .stager.yml" in result.output
    assert "No port was found" in result.output
