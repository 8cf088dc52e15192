"""Installing and removing the services, in a folder that stands for the machine's root."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Refused
from stager.settings.loading.loader import load
from stager.systemd.machine import Machine
from stager.systemd.service import Service, check_program
from stager.systemd.units import BUILDER, HELPER, STAGER, Program, units
from tests.unit.docs.pages import samples

ME = "root"


@dataclass(frozen=True, slots=True)
class Recorded(Machine):
    """A machine whose commands are only recorded."""

    commands: list[str] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    helper_starts: bool = True

    def run(self, *command: str) -> None:
        self.commands.append(" ".join(command))
        if command[0] in ("useradd", "usermod"):
            self.members.add(command[-1])

    def has_appeared(self, path: Path, seconds: float) -> bool:
        return "systemctl restart stager-helper.service" in self.commands and self.helper_starts

    def folder(self, path: Path, mode: int, owner: str, group: str) -> None:
        Machine.folder(self, path, mode, ME, ME)

    def write(self, path: Path, text: str, mode: int = 0o644, group: str = "") -> bool:
        return Machine.write(self, path, text, mode)

    def has_user(self, name: str) -> bool:
        return name in self.members

    def has_member(self, group: str, user: str) -> bool:
        return user in self.members


@pytest.fixture(name="said")
def sentences() -> list[str]:
    return []


@pytest.fixture(name="machine")
def recorded(tmp_path: Path, said: list[str]) -> Recorded:
    return Recorded(said.append, tmp_path)


@pytest.fixture(name="service")
def made(machine: Recorded) -> Service:
    return Service(machine, Program())


class TestInstall:
    def test_creates_user_folders_and_configuration(self, service: Service, machine: Recorded) -> None:
        service.prepare(80)

        [added] = machine.commands
        assert added.startswith("useradd --system")
        assert added.endswith("--groups docker stager")
        state, config = machine.root / "var/lib/stager", machine.root / "etc/stager/config.yml"
        assert [stat.S_IMODE(p.stat().st_mode) for p in (state, config.parent, config)] == [
            0o700,
            0o750,
            0o640,
        ]
        settings = load(config, environ={}).settings
        assert (str(settings.listen), str(settings.state_dir)) == ("0.0.0.0:80", "/var/lib/stager")

    def test_writes_the_units_and_starts_them(self, service: Service, machine: Recorded) -> None:
        service.install()

        for name, text in units(Program()).items():
            assert (machine.root / "etc/systemd/system" / name).read_text() == text
        assert machine.commands == [
            "systemctl daemon-reload",
            "systemctl enable stager-helper.service",
            "systemctl restart stager-helper.service",
            "systemctl enable stager.service",
            "systemctl restart stager.service",
        ]

    def test_stager_isnt_started_without_the_helper(self, tmp_path: Path) -> None:
        machine = Recorded(lambda _: None, tmp_path, helper_starts=False)
        with pytest.raises(Fault, match="journalctl -u stager-helper"):
            Service(machine, Program()).install()
        assert machine.commands[-1] == "systemctl restart stager-helper.service"

    def test_again_changes_no_file(self, service: Service, machine: Recorded, said: list[str]) -> None:
        service.prepare(80)
        service.install()
        config = machine.root / "etc/stager/config.yml"
        config.write_text("listen: 127.0.0.1:9000\n")
        said.clear()
        machine.commands.clear()

        service.prepare(8000)
        service.install()

        assert said == []
        assert config.read_text() == "listen: 127.0.0.1:9000\n"
        assert not [command for command in machine.commands if not command.startswith("systemctl ")]

    def test_says_what_it_does(self, service: Service, said: list[str]) -> None:
        service.prepare(80)
        service.install()
        assert said == [
            "creating /var/lib/stager",
            "creating /etc/stager",
            "writing /etc/stager/config.yml",
            "linking /usr/local/bin/stager to /opt/stager/.venv/bin/stager",
            f"writing /etc/systemd/system/{HELPER}",
            f"writing /etc/systemd/system/{BUILDER}",
            f"writing /etc/systemd/system/{STAGER}",
        ]

    def test_a_program_elsewhere(self) -> None:
        program = Program(Path("/usr/local/stager/bin/python"), Path("/srv/stager.yml"))
        texts = "".join(units(program).values())
        assert "ExecStart=/usr/local/stager/bin/stager serve --config /srv/stager.yml\n" in texts
        assert "ExecStart=/usr/local/stager/bin/python -I -m stager.helper --user stager\n" in texts
        assert "/opt/" not in texts


class TestUninstall:
    def test_removes_what_was_installed_and_keeps_the_data(self, service: Service, machine: Recorded) -> None:
        service.prepare(80)
        service.install()
        machine.commands.clear()

        service.uninstall()

        assert list((machine.root / "etc/systemd/system").iterdir()) == []
        assert not (machine.root / "usr/local/bin/stager").is_symlink()
        assert (machine.root / "etc/stager/config.yml").exists()
        assert (machine.root / "var/lib/stager").exists()
        assert machine.commands == [
            "systemctl disable --now stager.service",
            "systemctl disable --now stager-helper.service",
            "runuser --user stager -- /opt/stager/.venv/bin/stager stop --config /etc/stager/config.yml",
            "systemctl daemon-reload",
        ]

    def test_where_nothing_is_installed(self, service: Service, machine: Recorded, said: list[str]) -> None:
        service.uninstall()
        assert (machine.commands, said) == ([], [])


class TestMachine:
    def test_a_command_that_fails(self, tmp_path: Path) -> None:
        machine = Machine(lambda _: None, tmp_path)
        with pytest.raises(Fault, match="`sh -c 'echo broken; exit 3'` failed: broken"):
            machine.run("sh", "-c", "echo broken; exit 3")
        with pytest.raises(Fault, match="no-such-command"):
            machine.run("no-such-command")


class TestProgram:
    @pytest.mark.parametrize("folder", ["/home/ann/.venv", "/root/stager/.venv", "/tmp/stager"])
    def test_where_services_cant_see_it(self, folder: str) -> None:
        with pytest.raises(Refused, match="doesn't see that folder"):
            check_program(Program(Path(folder) / "bin/python"))


PAGES = {STAGER: ("ini", "run-as-a-service.md"), HELPER: ("ini", "root-helper.md"),
         BUILDER: ("text", "build-code-from-forks.md")}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_the_documentation_shows_the_units_as_they_are_installed(name: str) -> None:
    language, page = PAGES[name]
    shown = [s.text for s in samples(language) if s.page.name == page and "[Service]" in s.text]
    assert units(Program())[name].strip() in [text.strip() for text in shown]
