"""The how-to page about the command line, with its commands as written, against a server behind TLS."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.integration.console import PAGES_DOMAIN, Console, console, needs_mounts
from tests.integration.images import base_image
from tests.integration.tls_stand_in import tls_before
from tests.unit.docs.pages import samples
from tests.unit.docs.written import page_sample

pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(needs_mounts), reason=needs_mounts)]

PAGE = "use-the-command-line.md"
APP, USER, PASSWORD = "stager-demo", "ann", "a-password"
FILES = {
    "Dockerfile": """\
FROM stager-base/python:1
RUN ln -s python3 /usr/bin/python; echo "the build's line"
WORKDIR /app
COPY . .
EXPOSE 3000
CMD ["python3", "-m", "http.server", "3000"]
""",
    "index.html": "Hello from the demo",
    "manage.py": 'import sys\n\nprint("Applied:", *sys.argv[1:])\n',
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """With a server that serves one application of a local repository."""
    base_image("python")
    with console(tmp_path_factory.mktemp("c")) as made, tls_before(made.address, made.folder) as certificate:
        made.environ |= {"SSL_CERT_FILE": str(certificate), "CURL_CA_BUNDLE": str(certificate)}
        clone = made.repository(APP, FILES, branch="master")
        (made.server / "config.yml").write_text(yaml.safe_dump(configuration(made)))
        made.run("stager serve --detach")
        made.run(f"git remote add stager /srv/git/{APP}.git && git push -q stager master", at=clone)
        yield made


def configuration(shell: Console) -> dict[str, object]:
    quick = {"drain_timeout": 1, "stop_grace_period": 1}
    return {
        "domain": PAGES_DOMAIN, "listen": f"{shell.address}:80", "scheme": "https", "helper": "off",
        "local_forge": "/srv/git", "images": {APP: {"build": ".", "private": ["sign-in", "link"], **quick}},
        "authentication_strategy": "BasicAuthentication", "users": [f"{USER}:{PASSWORD}"],
        "roles": {f"basic:{USER}": "administrator"},
    }  # fmt: skip


def login(shell: Console, script: str, *answers: tuple[str, str]) -> None:
    """Type these answers to the questions of a command."""
    typing = shell.sit(script)
    for question, answer in answers:
        typing.wait_for(question)
        typing.type(f"{answer}\n")
    assert typing.ends() == 0, typing.said


@pytest.fixture(scope="module")
def signed_in(shell: Console) -> Console:
    """After the page's first section."""
    sample = page_sample("use-the-command-line.md", "stager configure endpoint=https://demo.example.org")
    login(shell, sample, ("User name", USER), (f"Password of {USER}", PASSWORD))
    return shell


def test_launch_look_and_remove(signed_in: Console) -> None:
    shell = signed_in
    assert f"https://master.{PAGES_DOMAIN}" in shell.run(
        page_sample("use-the-command-line.md", "stager launch stager-demo master")
    )
    commit = pushed(shell)
    said = shell.run(
        page_sample("use-the-command-line.md", "stager wait stager-demo my-branch"), COMMIT=commit
    )
    assert said.splitlines()[-1] == f"https://my-branch.{PAGES_DOMAIN}"
    inspect(shell)
    assert "stager_share=" in shell.run(
        page_sample("use-the-command-line.md", "stager share stager-demo master")
    )
    said = shell.run(
        page_sample("use-the-command-line.md", "url=$(stager launch stager-demo master) || exit")
    )
    assert "private" in said  # curl has no session
    said = shell.run(page_sample("use-the-command-line.md", "stager list\n"))
    assert said.endswith("master: This preview was removed.\n")


def pushed(shell: Console) -> str:
    """Push the branch of the page; its commit."""
    clone = shell.folder / "clones" / APP
    shell.run("git push -q stager HEAD:my-branch 2>&1", at=clone)
    return shell.run("git rev-parse HEAD", at=clone).strip()


def inspect(shell: Console) -> None:
    """The four commands, the first and the third of which go on until they are ended."""
    follow, build, enter, migrate = page_sample(
        "use-the-command-line.md", "stager logs stager-demo master --follow"
    ).splitlines()
    following = shell.sit(follow)
    following.wait_for("HTTP/1")  # the health check's request
    following.type("\x03")
    following.ends()
    assert "the build's line" in shell.run(build)
    inside = shell.sit(enter)
    inside.wait_for("# ")
    inside.type("exit 0\n")
    assert inside.ends() == 0, inside.said
    assert "Applied: migrate" in shell.run(migrate)


def test_several_servers(signed_in: Console) -> None:
    """The other one is this one, by another name; its certificate has both."""
    shell = signed_in
    token = re.findall(r"\S{30,}", shell.run("stager token create other --role viewer --expires 1d"))[-1]
    login(shell, page_sample("use-the-command-line.md", "stager configure --endpoint work"), ("oken", token))
    shell.run("stager configure default=default")


def test_check_the_server(signed_in: Console) -> None:
    """`*.demo.example.org` isn't in the DNS, and the exit code says so."""
    said = signed_in.run(page_sample("use-the-command-line.md", "stager doctor"), code=1)
    assert re.findall("^✗ (.*?):", said, re.MULTILINE) == ["DNS"]
    assert "✓ Docker" in said


def test_tokens(signed_in: Console) -> None:
    said = signed_in.run(page_sample("use-the-command-line.md", "stager token create ci --role developer"))
    assert re.search(r"^stager_\S{30,}$", said, re.MULTILINE)
    assert re.search(r"^\w+ +ci +developer +stager-demo ", said, re.MULTILINE)
    assert said.splitlines()[-2].startswith(f"{USER} ")


def test_a_custom_strategy(shell: Console) -> None:
    """In a home of its own; the class is the page's."""
    [sample] = [s for s in samples("python") if s.page.name == PAGE]
    folder = shell.home / "other" / "stager" / "auth_strategies"
    folder.mkdir(parents=True)
    (folder / "gateway.py").write_text(sample.text)
    there = str(shell.home / "other")
    command = page_sample("use-the-command-line.md", "stager configure auth_strategy=Gateway")
    shell.run(command, XDG_CONFIG_HOME=there)
    assert "shop" in shell.run("stager configure", XDG_CONFIG_HOME=there)
