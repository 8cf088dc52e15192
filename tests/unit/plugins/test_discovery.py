"""Where pluggable classes are found, and the errors for those that can't be used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stager.ports.plugins import BUILT_IN, KINDS, PluginRegistry, discover
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError

Write = Callable[..., Path]

LISTENER = "from stager import EventListener\nclass %s(EventListener):\n    def handle(self, event): ...\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the configuration's folder; the folder."""

    def write_it(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write_it


def problems(found: PluginRegistry) -> list[str]:
    return [f"{problem.place}: {problem.message}" for problem in found.problems]


def names(found: PluginRegistry, *, strangers: bool = True) -> set[str]:
    return {plugin.name for plugin in found if not strangers or plugin.origin != "Stager"}


class TestBuiltIns:
    def test_all_of_our_modules_with_one_are_searched(self) -> None:
        source = Path(sys.modules["stager.ports.plugins"].__file__ or "").parents[1]
        modules = {
            f"stager.{path.parent.name}.{path.stem}"
            for folder in ("handlers", "auth")
            for path in (source / folder).glob("[a-z]*.py")
        }
        assert modules == set(BUILT_IN)

    def test_each_says_what_it_does(self) -> None:
        for plugin in discover(installed=False):
            assert plugin.kinds, plugin.name
            assert plugin.summary.endswith("."), plugin.name
            assert plugin.origin == "Stager"

    def test_none_of_them_has_a_problem(self) -> None:
        assert problems(discover()) == []


class TestFiles:
    @pytest.mark.parametrize("folder", ["plugins", "custom_request_handlers"])
    @pytest.mark.requirement("R17", "R64")
    def test_a_file_is_found_beside_the_configuration(self, write: Write, folder: str) -> None:
        found = discover(write(f"{folder}/mine.py", LISTENER % "Mine"))
        assert names(found) >= {"Mine"}
        assert found.get("Mine").origin == f"{folder}/mine.py"

    def test_what_a_file_imports_is_not_its_own(self, write: Write) -> None:
        write("plugins/a.py", LISTENER % "First")
        write("plugins/_hidden.py", LISTENER % "Hidden")
        folder = write("plugins/b.py", "from .a import First\nfrom ._hidden import Hidden\n")
        assert names(discover(folder, installed=False)) == {"First"}

    def test_two_folders_do_not_meet(self, write: Write, tmp_path: Path) -> None:
        write("one/plugins/mine.py", LISTENER % "One")
        write("two/plugins/mine.py", LISTENER % "Two")
        assert names(discover(tmp_path / "one", installed=False)) == {"One"}
        assert names(discover(tmp_path / "two", installed=False)) == {"Two"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("\nimport nowhere_to_be_found", ":2: can't be imported: ModuleNotFoundError: No module named"),
            ("def f(:", ":1: can't be imported: SyntaxError: invalid syntax"),
            ("import sys\nsys.exit(1)", ":2: can't be imported: SystemExit: 1"),
            ("def f():\n    1 / 0\nf()", ":2: can't be imported: ZeroDivisionError: division by zero"),
            (
                "from stager import PreKillHandler\nclass A(PreKillHandler): ...",
                ": A lacks the method killing",
            ),
            (LISTENER % "StatusReport", ": has StatusReport, which Stager has, too"),
            (
                LISTENER % "A" + "    def __init__(self, wishes): ...",
                ": A asks for wishes; what a constructor may ask for is settings, previews, users, logins",
            ),
            (
                LISTENER % "A" + "    def __init__(self, settings): ...",
                ": A asks for settings, but has no class Settings",
            ),
        ],
    )
    def test_what_cannot_be_used_is_reported_with_its_place(self, write: Write, text: str, said: str) -> None:
        [problem] = problems(discover(write("plugins/mine.py", text), installed=False))
        assert problem.startswith(f"plugins/mine.py{said}")

    def test_a_base_class_for_others_is_none_itself(self, write: Write) -> None:
        text = (
            "from stager import PreKillHandler\n"
            "class Base(PreKillHandler): ...\n"
            "class Mine(Base):\n    def killing(self, preview): ...\n"
        )
        found = discover(write("plugins/mine.py", text), installed=False)
        assert (names(found), problems(found)) == ({"Mine"}, [])

    def test_it_is_an_error_at_the_start_with_all_the_others(self, write: Write) -> None:
        write("plugins/mine.py", "oh no")
        folder = write("config.yml", "images: {shop: {}}\nevent_listeners: [Mine]\n")
        with pytest.raises(ConfigurationError) as caught:
            load(folder / "config.yml", environ={})
        assert [problem.path for problem in caught.value.problems] == [
            "plugins/mine.py:1",
            "images.shop.port",
            "event_listeners[0]",
        ]


class TestPackages:
    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
        """Have a package installed, with this module and this entry point."""

        def install(text: str, entry: str) -> None:
            (tmp_path / "stranger_plugin.py").write_text(text)
            info = tmp_path / "stranger_plugin-2.1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger-plugin\nVersion: 2.1\n")
            (info / "entry_points.txt").write_text(f"[stager.handlers]\nit = {entry}\n")
            monkeypatch.syspath_prepend(str(tmp_path))
            monkeypatch.delitem(sys.modules, "stranger_plugin", raising=False)
            importlib.invalidate_caches()

        return install

    @pytest.mark.parametrize("entry", ["stranger_plugin", "stranger_plugin:Mine"])
    def test_a_class_or_a_module_is_found_by_its_entry_point(
        self, installed: Callable[[str, str], None], entry: str
    ) -> None:
        installed(LISTENER % "Mine", entry)
        assert discover().get("Mine").origin == "stranger-plugin 2.1"

    @pytest.mark.parametrize(
        ("text", "entry", "said"),
        [
            ("oops", "stranger_plugin", "can't be imported: NameError: name 'oops' is not defined"),
            ("a = 1", "stranger_plugin:b", "can't be imported: AttributeError"),
            ("a = 1", "stranger_plugin", "has no pluggable class"),
        ],
    )
    def test_a_broken_one_is_named(
        self, installed: Callable[[str, str], None], text: str, entry: str, said: str
    ) -> None:
        installed(text, entry)
        [problem] = problems(discover())
        assert problem.startswith(f"stranger-plugin 2.1: {said}")


def test_a_section_is_one_handlers_own(write: Write) -> None:
    text = (
        "from pydantic import BaseModel\n" + LISTENER % "Mine" + "    section = 'images'\n"
        "    class Settings(BaseModel): ...\n"
    )
    folder = write("plugins/mine.py", text)
    (folder / "config.yml").write_text("")
    with pytest.raises(ConfigurationError, match="Mine has the section images, which belongs to Stager"):
        load(folder / "config.yml", environ={})


def test_the_kinds_are_settings() -> None:
    settings = load(None, environ={}).settings
    assert all(hasattr(settings, kind) for kind in KINDS)
