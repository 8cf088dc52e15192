"""What `stager up` builds and runs, by the repository's files and the options."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from stager.cli.up.options import BuildOptions, Given, Options
from stager.cli.up.preparation import prepare
from stager.cli.up.prepared import Prepared
from stager.domain.errors import Fault, Refused
from tests.unit.cli.up.terminal import FakeTerminal

PROJECTS = Path(__file__).parents[3] / "projects"
ONE = "FROM unknown.example.org/base\nEXPOSE 3000\nCMD serve\n"


def write(folder: Path, **files: str) -> Path:
    """Write files, whose names have `__` for `/` and `_dot_` for a dot."""
    for name, text in files.items():
        path = folder / name.replace("_dot_", ".").replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def prepared(
    folder: Path,
    *,
    dockerfile: str = "",
    context: str = "",
    port: int | None = None,
    env: tuple[str, ...] = (),
    files: tuple[Path, ...] = (),
    build_args: tuple[str, ...] = (),
    terminal: FakeTerminal | None = None,
) -> Prepared:
    options = Options(BuildOptions(dockerfile, context), port, Given(env, files, build_args))
    key = folder.parent / f"{folder.name}.key"
    return prepare(folder, key, options, terminal or FakeTerminal(), is_env_tracked=False)


def value_of(found: Prepared, name: str) -> str:
    """A variable's value, by way of the configuration."""
    reference = found.application["secrets"][name]
    return found.environ[reference.removeprefix("${").removesuffix("}")]


def build_of(found: Prepared) -> dict[str, Any]:
    return dict(found.application["build"])


class TestBuild:
    def test_the_dockerfile_at_the_root(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE, docker__Dockerfile=ONE)
        found = prepared(tmp_path)
        assert found.notes[0] == "Dockerfile: Dockerfile"
        assert found.overlay(tmp_path) == {}

    def test_an_option_decides_before_stager_yml(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE, docker__Dockerfile=ONE)
        (tmp_path / ".stager.yml").write_text("port: 1\nbuild: {dockerfile: Dockerfile, args: {A: b}}\n")
        found = prepared(tmp_path, dockerfile="docker/Dockerfile", context="docker", port=7000)
        file = yaml.safe_load(found.overlay(tmp_path)[".stager.yml"])
        assert file["port"] == 7000
        assert file["build"] == {
            "auto": False, "context": "docker", "dockerfile": "Dockerfile", "target": "", "args": {"A": "b"}
        }  # fmt: skip

    def test_a_changed_stager_yml_is_merged_again(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, Dockerfile=ONE), port=7000)
        (tmp_path / ".stager.yaml").write_text("health_path: /up\n")
        assert yaml.safe_load(found.overlay(tmp_path)[".stager.yaml"]) == {"port": 7000, "health_path": "/up"}

    def test_a_broken_stager_yml_is_left_to_the_server(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, Dockerfile=ONE), port=7000)
        (tmp_path / ".stager.yml").write_text("a: [")
        assert found.overlay(tmp_path) == {}

    def test_an_invalid_stager_yml_ends_it_with_the_line(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE)
        (tmp_path / ".stager.yml").write_text("prot: 3000\n")
        with pytest.raises(Fault, match="line 1"):
            prepared(tmp_path)

    def test_stager_yml_names_a_missing_one(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE)
        (tmp_path / ".stager.yml").write_text("build: web\n")
        with pytest.raises(Refused, match=r"web/Dockerfile.*doesn't exist.*--dockerfile") as caught:
            prepared(tmp_path)
        assert caught.value.reason == "no-build"

    @pytest.mark.parametrize(
        ("dockerfile", "context", "sentence"),
        [
            ("nowhere/Dockerfile", "", "there is no file nowhere/Dockerfile in .*. Found: Dockerfile."),
            ("../Dockerfile", "", "is outside of .* Give the folder that contains it as FOLDER"),
            ("/etc/passwd", "", "is outside of"),
            ("", "nowhere", "there is no folder nowhere in"),
            ("", "..", "is outside of"),
            ("", "empty", "has no Dockerfile and no known framework. Found: Dockerfile."),
        ],
    )
    def test_invalid_options(self, tmp_path: Path, dockerfile: str, context: str, sentence: str) -> None:
        write(tmp_path, Dockerfile=ONE, empty__notes="")
        with pytest.raises(Refused, match=sentence) as caught:
            prepared(tmp_path, dockerfile=dockerfile, context=context)
        assert caught.value.reason == "build-option-invalid"

    @pytest.mark.attack(
        "The Dockerfile that `stager up` is to build is a symbolic link out of the folder",
        profile="repository's own code",
        result="it isn't read",
    )
    def test_a_link_out_of_the_folder_is_no_dockerfile(self, tmp_path: Path) -> None:
        (tmp_path / "outside").write_text(ONE)
        inside = tmp_path / "in"
        inside.mkdir()
        (inside / "web.Dockerfile").symlink_to(tmp_path / "outside")
        with pytest.raises(Refused, match="there is no file"):
            prepared(inside, dockerfile="web.Dockerfile")

    def test_several_are_prompted_for(self, tmp_path: Path) -> None:
        write(tmp_path, apps__api__Dockerfile=ONE, apps__web__Dockerfile=ONE)
        terminal = FakeTerminal("9", "2")
        found = prepared(tmp_path, terminal=terminal)
        assert "Dockerfile: apps/api/Dockerfile" in found.notes[0]
        assert terminal.said == [
            "  1  apps/web/Dockerfile",
            "  2  apps/api/Dockerfile",
            "Enter a number from 1 to 2.",
        ]

    def test_an_application_of_a_workspace_is_built_at_its_root(self, tmp_path: Path) -> None:
        web = '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}'
        write(tmp_path, apps__web__package_dot_json=web, package_dot_json='{"workspaces": ["apps/*"]}')
        found = prepared(tmp_path, context="apps/web")
        build = build_of(found)
        assert (build["context"], build["dockerfile"]) == (".", "apps/web/Dockerfile")
        files = found.overlay(tmp_path)
        assert b"cd apps/web && npm run build" in files["apps/web/Dockerfile"]
        assert b"node_modules" in files["apps/web/Dockerfile.dockerignore"]
        forced = yaml.safe_load(files[".stager.yml"])["build"]
        assert (forced["context"], forced["dockerfile"]) == (".", "apps/web/Dockerfile")

    def test_the_health_path_of_a_detected_framework(self, tmp_path: Path) -> None:
        files = {
            "Gemfile": 'gem "rails"\n',
            "config__application_dot_rb": "",
            "config__routes_dot_rb": 'get "up" => "rails/health#show"\n',
        }
        found = prepared(write(tmp_path, **files))
        assert found.application["health_path"] == "/up"
        (tmp_path / "Dockerfile").write_text(ONE)
        assert "health_path" not in prepared(tmp_path).application

    def test_sources_that_are_missing(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=f"{ONE}COPY dist/app /www\n")
        assert "Dockerfile copies files that don't exist: dist/app." in prepared(tmp_path).notes

    def test_submodules_that_are_missing(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE, _dot_gitmodules='[submodule "t"]\n\tpath = theme\n\turl = ../theme\n')
        (tmp_path / "theme").mkdir()
        expected = "Not checked out: theme. Run `git submodule update --init --recursive`."
        assert expected in prepared(tmp_path).notes

    @pytest.mark.parametrize(
        ("name", "framework", "variable"),
        [("laravel", "Laravel", "APP_KEY"), ("rails", "Rails", "SECRET_KEY_BASE")],
    )
    def test_what_cannot_be_built_here(
        self, tmp_path: Path, name: str, framework: str, variable: str
    ) -> None:
        """Its packages can't be had where the tests run, so only the Dockerfile is looked at."""
        folder = tmp_path / name
        shutil.copytree(PROJECTS / name, folder)
        found = prepared(folder)
        assert f"{framework} was detected" in found.notes[0]
        text = found.overlay(folder)["Dockerfile"].decode()
        assert text.startswith(f"# Generated by Stager ({framework}")
        assert "EXPOSE" in text
        assert f"Generated: {variable}." in " ".join(found.notes)

    def test_an_own_dockerfile_replaces_the_generated_one(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, index_dot_html="page"))
        assert set(found.overlay(tmp_path)) == {"Dockerfile", ".dockerignore"}
        write(tmp_path, Dockerfile=ONE)
        assert set(found.overlay(tmp_path)) == {".dockerignore"}


class TestBuildArguments:
    def test_the_base_image_of_a_generated_dockerfile(self, tmp_path: Path) -> None:
        write(tmp_path, requirements_dot_txt="flask\n", app_dot_py="import flask\napp = flask.Flask('x')\n")
        found = prepared(tmp_path, build_args=("PYTHON_BASE=own/python:1", "PIP_INDEX_URL=https://a.example"))
        assert build_of(found)["args"] == {
            "PYTHON_BASE": "own/python:1",
            "PIP_INDEX_URL": "https://a.example",
        }
        text = found.overlay(tmp_path)["Dockerfile"].decode()
        assert text.count("ARG PYTHON_BASE") == 1
        assert "\nARG PIP_INDEX_URL\n" in text
        assert "PYTHON_BASE" not in found.application["secrets"], "it isn't a variable of the application"

    def test_they_override_those_of_stager_yml(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=f"{ONE}ARG A\nARG B\n")
        (tmp_path / ".stager.yml").write_text("build: {args: {A: file, B: file}}\n")
        found = prepared(tmp_path, build_args=("A=given",))
        assert build_of(found)["args"] == {"A": "given"}
        file = yaml.safe_load(found.overlay(tmp_path)[".stager.yml"])
        assert file == {"build": {"args": {"A": "given", "B": "file"}}}

    def test_a_value_is_taken_literally(self, tmp_path: Path) -> None:
        found = prepared(write(tmp_path, Dockerfile=ONE), build_args=("A=${HOME}",))
        assert build_of(found)["args"] == {"A": "$${HOME}"}

    def test_a_name_alone_takes_the_value_of_the_shell(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, Dockerfile=ONE)
        monkeypatch.setenv("A", "shell")
        assert build_of(prepared(tmp_path, build_args=("A",)))["args"] == {"A": "shell"}
        with pytest.raises(Refused, match="--build-arg: NOT_SET isn't set in this shell"):
            prepared(tmp_path, build_args=("NOT_SET",))
        with pytest.raises(Refused, match="--build-arg: expected NAME=VALUE"):
            prepared(tmp_path, build_args=("A-B=1",))

    def test_with_a_compose_file(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=ONE, compose_dot_yaml="services: {web: {build: ., ports: ['3000']}}\n")
        found = prepared(tmp_path, build_args=("BASE=own:1",))
        assert found.application["compose"] is True
        assert build_of(found) == {"auto": True, "args": {"BASE": "own:1"}, "secrets": {}}


class TestVariables:
    def test_arguments_and_secrets_of_the_build(self, tmp_path: Path) -> None:
        mounts = "RUN --mount=type=secret,id=B,required=true \\\n  --mount=id=C,type=secret x\n"
        write(tmp_path, Dockerfile=f"{ONE}ARG A\n{mounts}")
        found = prepared(tmp_path, env=("A=aaaa", "B=bbbb", "D=dddd"))
        assert build_of(found)["args"].keys() == {"A"}
        assert build_of(found)["secrets"].keys() == {"A", "B"}  # A, so that it is masked in the log
        assert found.application["secrets"].keys() == {"A", "B", "D"}
        expected = "Not set: the build secrets C. Set them with --env NAME=VALUE or --env-file."
        assert expected in found.notes

    def test_values_are_in_neither_configuration_nor_notes(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=f"{ONE}ARG A\n", _dot_env="B=from-the-file")
        found = prepared(tmp_path, env=("A=kx7-value",), terminal=FakeTerminal(agrees=True))
        shown = f"{found.application} {found.notes} {found!r} {found.overlay(tmp_path)}"
        assert "kx7-value" not in shown
        assert "from-the-file" not in shown
        assert (value_of(found, "A"), value_of(found, "B")) == ("kx7-value", "from-the-file")

    def test_a_public_value_is_not_masked(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile=f"{ONE}ARG MODE\n", _dot_env_dot_example="MODE=production\n")
        assert build_of(prepared(tmp_path))["secrets"] == {}
        assert build_of(prepared(tmp_path, env=("MODE=staging",)))["secrets"].keys() == {"MODE"}

    def test_a_generated_dockerfile_gets_given_ones(self, tmp_path: Path) -> None:
        write(tmp_path, index_dot_html="page", _dot_env_dot_example="VITE_API=https://a.example\nOTHER=x\n")
        found = prepared(tmp_path, env=("A=1",))
        lines = found.overlay(tmp_path)["Dockerfile"].decode().splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("FROM"))
        assert set(lines[start + 1 : start + 3]) == {"ARG A", "ARG VITE_API"}
        assert build_of(found)["args"].keys() == {"A", "VITE_API"}

    def test_a_command_is_not_expanded_by_the_configuration(self, tmp_path: Path) -> None:
        write(tmp_path, Dockerfile="FROM python:3.12\n", Procfile="web: python app.py --port ${PORT:-5000}\n")
        found = prepared(tmp_path)
        assert "$${PORT:-5000}" in found.application["command"][-1]
        assert "Command: python app.py --port ${PORT:-5000} (Procfile; Dockerfile has no CMD)" in found.notes


COMPOSE = """\
services:
  web:
    build: {context: web, dockerfile: app.Dockerfile}
    ports: ["80:3000"]
    env_file: .env
  db: {image: "postgres:15"}
"""


class TestComposeFile:
    def test_all_services_run(self, tmp_path: Path) -> None:
        write(tmp_path, web__app_dot_Dockerfile=ONE, compose_dot_yaml=COMPOSE, _dot_env_dot_example="KEY=a\n")
        found = prepared(tmp_path, env=("A=b",))
        assert found.application == {
            "build": {"auto": True, "secrets": {}},
            "compose": True,
            "env": {"A": "${STAGER_UP_VALUE_0}"},
        }
        assert found.environ == {"STAGER_UP_VALUE_0": "b"}
        assert found.notes == (
            "Services of compose.yaml: web (main), db. `stager explain` shows more.",
            "compose.yaml:5: .env isn't in the repository; its variables are those of .env.example.",
        )
        assert found.overlay(tmp_path) == {}

    def test_build_secrets_are_given_to_its_build(self, tmp_path: Path) -> None:
        dockerfile = f"{ONE}RUN --mount=type=secret,id=TOKEN true\n"
        write(tmp_path, web__app_dot_Dockerfile=dockerfile, compose_dot_yaml=COMPOSE)
        assert prepared(tmp_path, env=("TOKEN=b",)).application["build"]["secrets"] == {
            "TOKEN": "${STAGER_UP_VALUE_0}"
        }

    def test_an_option_runs_a_dockerfile_alone(self, tmp_path: Path) -> None:
        write(tmp_path, web__app_dot_Dockerfile=ONE, compose_dot_yaml=COMPOSE)
        found = prepared(tmp_path, dockerfile="web/app.Dockerfile")
        assert "compose" not in found.application
        assert "Not started: the services of compose.yaml (db)." in found.notes

    def test_a_folder_with_a_similar_name_is_another_build(self, tmp_path: Path) -> None:
        files = {"web__app_dot_Dockerfile": ONE, "website__Dockerfile": ONE}
        write(tmp_path, **files, compose_dot_yaml=COMPOSE)
        found = prepared(tmp_path, dockerfile="website/Dockerfile")
        assert "Not started: the services of compose.yaml (web, db)." in found.notes

    def test_services_of_stager_yml_come_first(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            Dockerfile=ONE,
            compose_dot_yaml=COMPOSE,
            _dot_stager_dot_yml="services: {db: postgres:15}\n",
        )
        found = prepared(tmp_path)
        assert "compose" not in found.application
        assert not any("Not started" in note for note in found.notes)

    @pytest.mark.parametrize(("answers", "web"), [((), "api"), (("2",), "site")])
    def test_several_may_be_the_main_one(self, tmp_path: Path, answers: tuple[str, ...], web: str) -> None:
        text = (
            "services:\n  api: {build: ., ports: [1]}\n  site: {build: ., ports: [2]}\n  db: {image: redis}\n"
        )
        write(tmp_path, Dockerfile=ONE, compose_dot_yaml=text)
        found = prepared(tmp_path, terminal=FakeTerminal(*answers))
        assert found.application["web"] == web
        assert any("api, site: `web: NAME` in .stager.yml" in note for note in found.notes)

    def test_a_refused_file_leaves_the_application(self, tmp_path: Path) -> None:
        text = "services:\n  web: {build: ., ports: [80]}\n  db: {image: postgres, privileged: true}\n"
        write(tmp_path, Dockerfile=ONE, compose_dot_yaml=text)
        found = prepared(tmp_path)
        assert "compose" not in found.application
        assert "Not started: the services of compose.yaml (db)." in found.notes
        assert any(note.startswith("compose.yaml:3: `privileged` of a service") for note in found.notes)

    def test_an_image_in_front_of_the_application(self, tmp_path: Path) -> None:
        text = "services:\n  proxy: {image: nginx, ports: [80], depends_on: [app]}\n  app: {build: .}\n"
        write(tmp_path, Dockerfile=ONE, compose_dot_yaml=text)
        found = prepared(tmp_path)
        assert found.application["build"] == {"auto": True, "secrets": {}}
        assert "proxy (main)" in found.notes[0]

    def test_the_repositorys_image_instead_of_a_published_one(self, tmp_path: Path) -> None:
        files = {"Dockerfile": ONE, "compose_dot_yaml": "services: {app: {image: example/app, ports: [80]}}"}
        write(tmp_path, **files, _dot_stager_dot_yml="compose: true\nweb: app\n")
        found = prepared(tmp_path, port=7000)
        assert found.application["build"]["dockerfile"] == "Dockerfile"
        assert yaml.safe_load(found.overlay(tmp_path)[".stager.yml"])["port"] == 7000
