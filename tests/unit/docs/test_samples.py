"""The samples in the documentation are valid: configurations load, boot scripts run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from stager.control.reporting.pr_comment_template import comment_body
from stager.control.reporting.reporter import ReportState
from stager.domain.names import slugify
from stager.engines.docker import labels
from stager.settings.loading.loader import Loaded, load
from stager.settings.repository_file import read_file
from stager.settings.sections.applications import RepositoryKey
from tests.unit.docs.example import a_change, a_live_deployment, an_environment
from tests.unit.docs.pages import DOCS, ROOT, Sample, pages, samples, sections

WALKTHROUGH = DOCS / "how-to" / "walkthrough-with-a-prepared-image.md"
EXAMPLES = DOCS.parent / "examples" / "demo" / "app"


def _load(sample: Sample, folder: Path) -> Loaded:
    """Load a configuration, with the files and variables that it refers to."""
    text = sample.text
    for name in re.findall(r"file:(\S+)", text):
        (folder / Path(name).name).write_text("a-secret\n")
        text = text.replace(f"file:{name}", f"file:{Path(name).name}")
    path = folder / "config.yml"
    path.write_text(text)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "a0value0of0some0length00")
    return load(path, environ=environ)


@pytest.mark.parametrize("sample", samples("yaml"), ids=str)
def test_configuration_loads(sample: Sample, tmp_path: Path) -> None:
    """A sample that begins with `# .stager.yml` is a repository's file instead."""
    if sample.text.startswith("# .stager.yml"):
        assert read_file(sample.text.encode(), ".stager.yml", get_args(RepositoryKey))
    else:
        assert _load(sample, tmp_path).settings


@pytest.mark.requirement("R38", "R62")
def test_the_walkthroughs_configurations_have_its_settings(tmp_path: Path) -> None:
    first, second = (sample for sample in samples("yaml") if ROOT / sample.page == WALKTHROUGH)
    manual, with_github = _load(first, tmp_path).settings, _load(second, tmp_path).settings
    assert manual.images["stager-demo"].port == with_github.images["stager-demo"].port == 3000
    assert [user.name for user in manual.users] == ["testuser"]
    assert with_github.images["stager-demo"].repo_owner == "your-account"
    assert with_github.event_listeners == ("LaunchOnGithubPullRequestOpened", "KillOnGithubPullRequestClosed")
    assert with_github.github.incoming_auth.hook_secret.reveal() == "a-secret"
    assert with_github.github.outgoing_auth.password.reveal() == "a-secret"


@pytest.mark.parametrize("sample", samples("json"), ids=str)
def test_json_parses(sample: Sample) -> None:
    whole = sample.text.startswith("{\n")
    assert all(json.loads(text) for text in ([sample.text] if whole else sample.text.splitlines()))


@pytest.mark.parametrize("sample", samples("bash"), ids=str)
def test_shell_is_well_formed(sample: Sample) -> None:
    checked = subprocess.run(["bash", "-n"], input=sample.text, capture_output=True, text=True, check=False)
    assert checked.stderr == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("sample", samples("ini"), ids=str)
def test_systemd_accepts_the_unit(sample: Sample, tmp_path: Path) -> None:
    unit = tmp_path / f"stager{'-helper' if 'helper' in sample.page.name else ''}.service"
    unit.write_text(sample.text.replace("/opt/stager/.venv/bin", str(Path(sys.executable).parent)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0
    assert unit.name not in verified.stderr


EXPOSURE = 25
"""Maximum exposure by `systemd-analyze security`, in tenths; 100 is a service without restrictions."""

MEANS_NO_NEW_PRIVILEGES = frozenset(
    {"DynamicUser", "LockPersonality", "MemoryDenyWriteExecute", "PrivateDevices", "ProtectClock",
     "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
     "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
     "SystemCallArchitectures", "SystemCallFilter", "SystemCallLog"}
)  # fmt: skip
"""Settings that imply `NoNewPrivileges`, so that sudo can't work (systemd.exec(5))."""


def _unit_of(page: str) -> Sample:
    [unit] = [sample for sample in samples("ini") if sample.page.name == page]
    return unit


def _settings_of(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    sample = _unit_of("run-as-a-service.md")
    unit = tmp_path / "stager.service"
    unit.write_text(sample.text.replace("/opt/stager/.venv/bin/stager", "/bin/true"))
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout[-300:] + judged.stderr


def test_the_unit_has_the_settings_that_its_page_describes() -> None:
    sample = _unit_of("run-as-a-service.md")
    unit = _settings_of(sample.text)
    assert (unit["User"], unit["SupplementaryGroups"], unit["StateDirectory"]) == (
        "stager",
        "docker",
        "stager",
    )
    assert unit["KillMode"] == "process"
    assert unit["AmbientCapabilities"] == unit["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert {"AF_UNIX", "AF_INET", "AF_INET6"} <= set(unit["RestrictAddressFamilies"].split())


def test_the_drop_in_for_nginx_lifts_everything_that_blocks_sudo() -> None:
    unit, [more] = _unit_of("run-as-a-service.md"), samples("systemd")
    whole = _settings_of(unit.text) | _settings_of(more.text)
    assert {whole[name] for name in MEANS_NO_NEW_PRIVILEGES & whole.keys()} <= {"no", ""}
    assert (whole["NoNewPrivileges"], whole["CapabilityBoundingSet"]) == ("no", "~")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_helpers_unit_with_its_drop_in(tmp_path: Path) -> None:
    unit = _unit_of("root-helper.md")
    [more] = [
        s for s in samples("text") if s.page.name == "build-code-from-forks.md" and "[Service]" in s.text
    ]
    file, folder = tmp_path / "stager-helper.service", tmp_path / "stager-helper.service.d"
    folder.mkdir()
    file.write_text(unit.text.replace("/opt/stager/.venv/bin", str(Path(sys.executable).parent)))
    (folder / "builder.conf").write_text(more.text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0
    assert "stager-helper" not in verified.stderr


def test_the_labels_in_commands_exist() -> None:
    """Also in scripts and benchmarks: a filter by a label that nothing has fails silently."""
    files = [*pages(), *(path for path in (ROOT / "scripts").iterdir() if path.is_file())]
    files += [*(ROOT / "bench").rglob("*.py"), *(ROOT / "tests" / "integration").rglob("*.py")]
    texts = [file.read_text("utf-8") for file in files]
    named = {label for text in texts for label in re.findall(r'(?:label=|Labels? ")(stager\.\w+)', text)}
    assert labels.INSTALLATION in named
    others = {"stager.test", "stager.recipe"}
    assert named - others <= {value for value in vars(labels).values() if isinstance(value, str)} - {
        labels.UNVERSIONED_INSTALLATION
    }


@pytest.mark.requirement("R84", "R86")
def test_the_walkthroughs_boot_script_follows_the_branch(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "stager-demo"
    shutil.copytree(EXAMPLES, origin)
    _git(origin, "init", "--quiet", "--initial-branch", "main")
    _commit(origin, "Main")
    _git(tmp_path, "clone", "--quiet", str(origin), str(clone))
    script = _boot_script(clone)

    _git(origin, "checkout", "--quiet", "-b", "Feature/Warm_Welcome")
    _commit(origin, "A warm welcome")
    assert "A warm welcome" in _boot(script, "Feature/Warm_Welcome")
    _git(origin, "reset", "--quiet", "--hard", "main")
    _commit(origin, "Rebased")
    assert "Rebased" in _boot(script, "Feature/Warm_Welcome")
    assert "<h1>Main" in _boot(script, "main")
    with pytest.raises(subprocess.CalledProcessError):
        _boot(script, "no-such-branch")


def _boot_script(clone: Path) -> str:
    """The last boot script of the walkthrough, in this clone; it prints the page instead of serving it."""
    written = [
        re.search(r"<<'EOF'\n(.*?)^EOF$", sample.text, re.MULTILINE | re.DOTALL)
        for sample in samples("bash")
        if ROOT / sample.page == WALKTHROUGH
    ]
    script = [found[1] for found in written if found][-1]
    assert "exec python3 -m http.server 3000 --directory site" in script
    served = script.replace("exec python3 -m http.server 3000 --directory site", "exec cat site/index.html")
    return served.replace("cd /stager-demo", f"cd '{clone}'")


def _boot(script: str, branch: str) -> str:
    environ = {"PATH": os.environ["PATH"], "container_name": branch}
    return subprocess.run(
        ["bash", "-c", script], env=environ, capture_output=True, text=True, check=True
    ).stdout


def _commit(folder: Path, heading: str) -> None:
    page = folder / "site" / "index.html"
    page.write_text(re.sub("<h1>.*</h1>", f"<h1>{heading}</h1>", page.read_text()))
    _git(folder, "add", "--all")
    _git(
        folder, "-c", "user.name=Docs", "-c", "user.email=docs@localhost", "commit", "--quiet", "-m", heading
    )


def _git(folder: Path, *arguments: str) -> None:
    environ = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=folder, env=environ, check=True)


def test_the_comment_in_the_walkthrough_is_the_generated_one() -> None:
    section = sections(WALKTHROUGH)["8. Open a pull request"]
    quoted = "\n".join(
        line.removeprefix(">").strip() for line in section.splitlines() if line.startswith(">")
    )
    picture = ReportState(an_environment(a_change()), a_live_deployment(), a_live_deployment())
    page = "http://demo.example.org/previews/dwhfetsycbfe"
    body = comment_body(picture, "http://warm-welcome.demo.example.org", page)
    shown, _, folded = body.partition("<details>")
    assert quoted == shown.strip()
    assert all(title in section for title in re.findall("<summary>(.*?)</summary>", folded))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Fix/The_Thing", "fix-the-thing"),
        ("Fix login", "fix-login"),
        ("warm-welcome", "warm-welcome"),
        ("feature/Warm_Welcome", "feature-warm-welcome"),
    ],
)
def test_names_become_the_documented_hosts(name: str, slug: str) -> None:
    text = "\n".join(page.read_text() for page in DOCS.rglob("*.md"))
    assert slugify(name) == slug
    assert name in text
    assert f"{slug}.demo.example.org" in text
