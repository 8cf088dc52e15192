"""The walkthrough with a prepared image, with its commands as written, in an engine of the test's own."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.console import PAGES_DOMAIN, Console, console, needs_mounts
from tests.integration.images import base_image
from tests.integration.own_engine import OwnEngine
from tests.integration.stager import docker
from tests.unit.cli.client.terminal import Terminal
from tests.unit.docs.pages import ROOT, samples
from tests.unit.docs.written import page_sample

pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(needs_mounts), reason=needs_mounts)]

PAGE = "walkthrough-with-a-prepared-image.md"
EXAMPLE = ROOT / "examples" / "demo" / "app"
GITCONFIG = '[url "/srv/git/"]\ninsteadOf = https://github.com/\n[safe]\ndirectory = *\n'


@pytest.fixture
def shell(tmp_path: Path, second_engine: OwnEngine, request: pytest.FixtureRequest) -> Iterator[Console]:
    second_engine.resume()
    second_engine.load(base_image("python"))
    request.getfixturevalue("engine")  # from here on, `docker` is that one
    with console(tmp_path) as made:
        files = {str(p.relative_to(EXAMPLE)): p.read_text() for p in EXAMPLE.rglob("*") if p.is_file()}
        made.repository("your-account/stager-demo", files)
        make_python(made.folder)
        yield made


def make_python(folder: Path) -> None:
    """`python:3` as Docker Hub has it, as far as the page needs it: with git, which finds GitHub here."""
    draft = docker("create", "stager-base/python:1", "true")
    shutil.copytree(folder / "git", folder / "image" / "srv" / "git")
    (folder / "image" / "root").mkdir()
    (folder / "image" / "root" / ".gitconfig").write_text(GITCONFIG)
    docker("cp", f"{folder}/image/.", f"{draft}:/")
    docker("commit", draft, "python:3")
    docker("rm", draft)


def configure(shell: Console) -> None:
    """The page's first configuration, but for the address."""
    text = next(s.text for s in samples("yaml") if s.page.name == PAGE)
    config = yaml.safe_load(text.replace("0.0.0.0:80", f"{shell.address}:80"))
    (shell.server / "config.yml").write_text(yaml.safe_dump({**config, "helper": "off"}))


def started(shell: Console, command: str) -> Terminal:
    """Start the draft, and wait for its shell."""
    draft = shell.sit(command)
    draft.wait_for("# ")
    return draft


def assert_launches(shell: Console, command: str, host: str) -> None:
    assert shell.run(command).endswith(f"http://{host}")
    assert "<h1>" in shell.get(host)


def type_in(draft: Terminal, sample: str) -> None:
    """Type commands inside the draft, and wait for their end."""
    mark = secrets.token_hex(4)
    draft.type(f"{sample}\necho {mark[:4]}''{mark[4:]}\n")
    draft.wait_for(mark)


def test_each_step(shell: Console) -> None:
    shell.run(page_sample("walkthrough-with-a-prepared-image.md", "getent hosts demo.example.org"))
    draft = started(
        shell,
        page_sample(
            "walkthrough-with-a-prepared-image.md",
            "docker run --interactive --tty --name stager-demo-draft python:3",
        ),
    )
    type_in(draft, page_sample("walkthrough-with-a-prepared-image.md", "cd /\ngit clone"))
    type_in(
        draft,
        page_sample("walkthrough-with-a-prepared-image.md", "cat > /run.sh <<'EOF'\ncd /stager-demo\nexec"),
    )
    shell.run(
        page_sample("walkthrough-with-a-prepared-image.md", "docker commit stager-demo-draft stager-demo\n")
    )
    draft.type("exit\n")
    draft.ends()
    shell.run("docker rm stager-demo-draft")
    configure(shell)
    shell.run(page_sample("walkthrough-with-a-prepared-image.md", ".venv/bin/stager config check"))
    launch = page_sample(
        "walkthrough-with-a-prepared-image.md",
        "curl --user testuser:testpassword -d 'image_name=stager-demo&container_name=test'",
    )
    assert_launches(shell, launch, f"test.{PAGES_DOMAIN}")
    kill = page_sample(
        "walkthrough-with-a-prepared-image.md", "curl --user testuser:testpassword -d 'container_name=test'"
    )
    assert shell.run(kill).endswith("ok")
    follow_the_branch(shell)
    shell.run(page_sample("walkthrough-with-a-prepared-image.md", "openssl rand -hex 32 > hook_secret"))
    assert len((shell.server / "hook_secret").read_text().strip()) == 64


def follow_the_branch(shell: Console) -> None:
    """The page's step 6."""
    draft = started(
        shell,
        page_sample(
            "walkthrough-with-a-prepared-image.md",
            "docker run --interactive --tty --name stager-demo-draft stager-demo",
        ),
    )
    type_in(draft, page_sample("walkthrough-with-a-prepared-image.md", "cat > /run.sh <<'EOF'\nset -e"))
    shell.run(
        page_sample(
            "walkthrough-with-a-prepared-image.md", "docker commit stager-demo-draft stager-demo\ndocker rm"
        )
    )
    draft.ends()
    launch = page_sample(
        "walkthrough-with-a-prepared-image.md",
        "curl --user testuser:testpassword -d 'image_name=stager-demo&container_name=main'",
    )
    assert_launches(shell, launch, f"main.{PAGES_DOMAIN}")
