"""The how-to pages about a server in a clone, with their commands as written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stager.domain.source import Access
from tests.doubles.github_login import running_login
from tests.integration.console import PAGES_DOMAIN, Console, console, needs_mounts
from tests.integration.images import application_image
from tests.integration.stager import docker
from tests.integration.tls_stand_in import tls_before
from tests.unit.docs.pages import samples
from tests.unit.docs.written import page_sample

pytestmark = [pytest.mark.docker, pytest.mark.skipif(bool(needs_mounts), reason=needs_mounts)]

USERS = ["testuser:testpassword"]
BYPASS = "a-token-of-20-characters-at-least"
LAUNCH = (
    "curl -s --fail-with-body --user testuser:testpassword -d image_name=shop -d container_name={0} "
    f"http://{PAGES_DOMAIN}/launch"
)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Console]:
    application_image()
    with console(tmp_path) as made:
        yield made


def configure(shell: Console, **more: object) -> None:
    """Write config.yml with one application, `shop`."""
    app = {"image": "stager-test/app:1", "port": 3000, "command": "python3 /server.py"}
    quick = {"drain_timeout": 1, "stop_grace_period": 1}
    basics = {
        "domain": PAGES_DOMAIN, "listen": f"{shell.address}:80", "helper": "off",
        "images": {"shop": app | quick},
        "authentication_strategy": "BasicAuthentication", "users": USERS,
        "roles": {"basic:testuser": "administrator"},
    }  # fmt: skip
    (shell.server / "config.yml").write_text(yaml.safe_dump(basics | more))


def test_kill_upgrade_and_a_lost_database(shell: Console) -> None:
    """The preview is served after each; its container is the same one."""
    configure(shell)
    shell.run(page_sample("run-as-a-service.md", ".venv/bin/stager serve --detach"))
    assert shell.run(LAUNCH.format("test")) == f"http://test.{PAGES_DOMAIN}"
    running = shell.containers
    shell.run(page_sample("upgrade-and-recover.md", 'kill -9 "$(cat .stager/stager.pid)"'))
    shell.wait_for(f"test.{PAGES_DOMAIN}", "test")
    shell.run(page_sample("upgrade-and-recover.md", ".venv/bin/stager stop\nmkdir -p broken"))
    shell.wait_for(f"test.{PAGES_DOMAIN}", "test")
    assert shell.containers == running


def test_look_for_what_is_wrong(shell: Console) -> None:
    configure(shell)
    shell.run("stager serve --detach")
    status, doctor, check = page_sample(
        "when-something-goes-wrong.md", "stager status         # are both processes running"
    ).splitlines()
    assert "front:         running" in shell.run(status)
    assert "✓ Docker" in shell.run(doctor, code=1)  # `*.demo.example.org` isn't in the DNS
    assert shell.run(check).startswith("config.yml: valid")


def test_a_link_to_sign_in(shell: Console) -> None:
    configure(shell)
    (shell.server / "config.yml").write_text(
        f"domain: {PAGES_DOMAIN}\nlisten: {shell.address}:80\nhelper: 'off'\n"
    )
    shell.run("stager serve --detach")
    said = shell.run(page_sample("first-run.md", "stager login-link"))
    assert f"http://{PAGES_DOMAIN}/login/link?secret=" in said


def private(shell: Console) -> None:
    """The page's own settings for automated tests, and links."""
    [way] = [s for s in samples("yaml") if s.page.name == "private-previews.md" and "bypass_token" in s.text]
    wanted = yaml.safe_load(way.text)["images"]["shop"]["private"]
    configure(shell)
    config = yaml.safe_load((shell.server / "config.yml").read_text())
    config["images"]["shop"]["private"] = wanted | {"methods": ["sign-in", "link"]}
    (shell.server / "config.yml").write_text(yaml.safe_dump(config))
    shell.environ["PREVIEW_BYPASS"] = BYPASS
    shell.run("stager serve --detach")


def test_share_a_private_preview_and_give_tests_access(shell: Console) -> None:
    """But for the environment's id, which each preview has its own of."""
    private(shell)
    shell.run(LAUNCH.format("my-branch"))
    listed = f"curl -s --user testuser:testpassword http://{PAGES_DOMAIN}/api/v1/environments"
    [environment] = json.loads(shell.run(listed))
    sample = page_sample("private-previews.md", "curl --user testuser:testpassword --json")
    said = shell.run(sample.replace("dwhfetsycbfe", environment["id"]))
    [url] = re.findall(r'"url": ?"([^"]+)"', said)
    assert url.startswith(f"http://my-branch.{PAGES_DOMAIN}/?stager_share=")
    said = shell.run(page_sample("private-previews.md", 'curl --header "X-Stager-Bypass: $PREVIEW_BYPASS"'))
    assert "my-branch got 3 bytes" in said
    assert "my-branch got" not in shell.run(f"curl -s --data x=1 http://my-branch.{PAGES_DOMAIN}/form")


SHOP = {"name": "shop", "version": "1.0.0"}
LOCK = {**SHOP, "lockfileVersion": 3, "packages": {"": SHOP}}
BOOT = {
    "package.json": json.dumps({**SHOP, "scripts": {"start": "node server.js"}}),
    "package-lock.json": json.dumps(LOCK),
    "server.js": """\
require("http").createServer((_, answer) => answer.end("from " + process.env.container_name)).listen(3000)
""",
}


def test_a_boot_script_for_a_branch(shell: Console) -> None:
    """In an image with Node.js, and the repository in it."""
    folder = shell.repository("shop", BOOT)
    shell.run("git switch -qc warm-welcome && git push -q ../../git/shop.git warm-welcome main", at=folder)
    script = page_sample("prepare-an-image.md", "set -e\ncd /app")
    (shell.folder / "git" / "run.sh").write_text(script)
    (shell.folder / "git" / "Dockerfile").write_text(
        "FROM stager-base/node:1\nCOPY shop.git /srv/shop.git\nRUN git clone -q /srv/shop.git /app\n"
        "COPY run.sh /run.sh\n"
    )
    tag = f"stager-test/boot:{shell.installation}"
    docker("build", "-q", "-t", tag, str(shell.folder / "git"))
    try:
        app = {"image": tag, "port": 3000, "command": "/bin/bash /run.sh", "stop_grace_period": 1}
        configure(shell, images={"shop": app})
        shell.run("stager serve --detach")
        shell.run(LAUNCH.format("warm-welcome"))
        shell.wait_for(f"warm-welcome.{PAGES_DOMAIN}", "from warm-welcome")
    finally:
        shell.run(
            f"curl -s --user testuser:testpassword -d container_name=warm-welcome http://{PAGES_DOMAIN}/kill"
        )
        docker("image", "rm", "-f", tag)


def test_the_tutorials_server(shell: Console) -> None:
    """Its configuration as written, but for the address."""
    [sample] = [s.text for s in samples("yaml") if s.page.name == "tutorial.md"]
    text = sample.replace("0.0.0.0:80", f"{shell.address}:80")
    (shell.server / "config.yml").write_text(f"{text}helper: 'off'\n")
    said = shell.run(page_sample("tutorial.md", "stager config check"))
    assert said.startswith("config.yml: valid")
    assert f"http://{PAGES_DOMAIN}/login/link?secret=" in said
    assert "Stager is running" in shell.get(PAGES_DOMAIN)


def test_a_plugins_test(shell: Console) -> None:
    plugin, test, *_ = [s.text for s in samples("python") if s.page.name == "write-a-plugin.md"]
    (shell.server / "plugins").mkdir()
    (shell.server / "plugins" / "say_hello.py").write_text(plugin)
    (shell.server / "test_say_hello.py").write_text(test)
    said = shell.run(page_sample("write-a-plugin.md", ".venv/bin/pip install pytest"))
    assert "1 passed" in said


def test_launch_with_a_token_of_github(shell: Console) -> None:
    """The page's settings, with the double's addresses."""
    first, second = [
        yaml.safe_load(s.text) for s in samples("yaml") if s.page.name == "sign-in-with-github.md"
    ]
    with (
        running_login(f"https://{PAGES_DOMAIN}/event_receiver") as github,
        tls_before(shell.address, shell.folder) as certificate,
    ):
        github.rights["octocat", "acme/shop"] = Access.WRITE
        configure(shell)
        config = yaml.safe_load((shell.server / "config.yml").read_text())
        app = config["images"]["shop"] | second["images"]["shop"]
        urls = {"api_url": github.url, "web_url": github.url}
        del config["users"], config["roles"]
        merged = config | first | second | {"images": {"shop": app}, "github": first["github"] | urls}
        (shell.server / "config.yml").write_text(yaml.safe_dump(merged))
        shell.environ |= {"GITHUB_CLIENT_SECRET": "secret", "CURL_CA_BUNDLE": str(certificate)}
        shell.environ["TOKEN"] = github.token("octocat")
        shell.run("stager serve --detach")
        launch = page_sample("sign-in-with-github.md", 'curl -d "image_name=shop&container_name=master')
        assert shell.run(launch).endswith(f"https://master.{PAGES_DOMAIN}")
