"""The walkthrough's section on the command line, as a person performs it: the real command on a terminal, a
browser that follows redirects, a real Stager on real Docker, and oidc-provider in GitHub's place."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import pytest

from stager.control.identity.secrets import new_secret
from stager.forges.github.account import GithubServer
from stager.forges.github.sign_in import GithubSignIn, OAuthClient
from stager.ports.login import AuthorizationRequest
from tests.forge import doubles
from tests.forge.browser import Page
from tests.forge.visitor import Visitor
from tests.integration.person import Person
from tests.integration.stager import SECRET, StagerUnderTest, docker, until
from tests.unit.cli.client.terminal import Terminal
from tests.unit.front.harness import free_port

ROOT = Path(__file__).resolve().parents[2]
APP = "stager-demo"
CLIENT_SECRET = "github-secret"
SCOPE = "openid repo"
CODE = re.compile(r"and enter this code: (\S+)\s")


class Guest(Person):
    """A user with the command, and a browser that does what they would do in it.

    Args:
        name: of their account at the provider.
    """

    def __init__(self, folder: Path, server: Server, name: str) -> None:
        super().__init__(folder, server.home)
        self.environ |= {
            "PYTHONPATH": str(ROOT),
            # A keyring of the machine's would be asked, and not be empty.
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "STUB_PROVIDER": server.provider.url,
            "STUB_NAME": name,
            "STUB_SEEN": str(folder / "seen"),
        }
        self._browsers = folder / "browsers"
        script = f'#!/bin/sh\necho $$ >> {self._browsers}\necho "$1" >> {self.visited}\n'
        script += (
            f'exec {sys.executable} -m tests.forge.browser "$1" </dev/null >> {folder}/browser.log 2>&1\n'
        )
        Path(self.environ["BROWSER"]).write_text(script, encoding="utf-8")

    def configure(self) -> None:
        """As the walkthrough has it, on a terminal."""
        done = self.sit("configure", f"endpoint={self.url}", "auth_strategy=Github")
        assert done.ends() == 0, done.said

    def does(self, *words: str) -> Terminal:
        """The command on a terminal; it must succeed, and ask nothing."""
        terminal = self.sit(*words)
        assert terminal.ends() == 0, terminal.said
        assert "Sign in" not in terminal.said
        return terminal

    def seen(self, number: int) -> list[Page]:
        """Pages that their browsers came to rest at, as soon as there are so many."""
        file = Path(self.environ["STUB_SEEN"])

        def look() -> list[Page] | None:
            lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            return [Page(**json.loads(line)) for line in lines] if len(lines) >= number else None

        return until(look, f"the browser has seen {number} pages")

    @property
    def kept(self) -> str:
        """What the command keeps on disk."""
        return "".join(file.read_text() for file in self.files())

    @property
    def token(self) -> str:
        """By which the server knows the command."""
        kept = self.kept
        return kept[kept.index("stager_session_") :].partition('"')[0]

    def files(self) -> list[Path]:
        return [file for file in (self.folder / "config").rglob("*") if file.is_file()]

    def leave(self) -> None:
        super().leave()
        for pid in self._browsers.read_text().split() if self._browsers.exists() else []:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


class Server:
    """A Stager that knows people by GitHub, and the provider."""

    def __init__(self, folder: Path, image: str, provider: doubles.Server, port: int) -> None:
        self.provider = provider
        self.stager = StagerUnderTest(folder, image, {})
        self.stager.port = port
        self.home = f"http://localhost:{port}"

    def configure(self, client: str) -> None:
        """As the walkthrough has it, with GitHub elsewhere."""
        self.stager.configure(
            images={APP: {"repo_owner": "acme"}},
            authentication_strategy="GithubAuthentication",
            users=[],
            event_listeners=[
                "LaunchOnGithubPullRequestOpened",
                "KillOnGithubPullRequestClosed",
                "GithubAuthorization",
            ],
            github={
                "client_id": client,
                "client_secret": CLIENT_SECRET,
                "incoming_auth": {"hook_secret": SECRET},
                "api_url": self.provider.url,
                "web_url": self.provider.url,
                "scope": SCOPE,
            },
        )

    def post(self, path: str, **data: str) -> httpx.Response:
        """As curl would: without credentials, unless they are in `data`."""
        headers = {"Host": f"localhost:{self.stager.port}"}
        return httpx.post(f"{self.stager.url}{path}", data=data, headers=headers, trust_env=False, timeout=60)

    def get(self, path: str, headers: dict[str, str]) -> httpx.Response:
        given = {"Host": f"localhost:{self.stager.port}", **headers}
        return httpx.get(f"{self.stager.url}{path}", headers=given, trust_env=False, timeout=60)

    def token(self, name: str) -> str:
        """A user's own token, issued by the provider."""
        return asyncio.run(self._token(name))

    async def _token(self, name: str) -> str:
        asked = AuthorizationRequest(new_secret(), new_secret(), f"{self.home}/event_receiver")
        github_server = GithubServer(self.provider.url, self.provider.url, pause=0.01)
        async with aiohttp.ClientSession() as session, httpx.AsyncClient(trust_env=False) as browser:
            accounts = GithubSignIn(
                session, github_server, lambda: OAuthClient("github", CLIENT_SECRET), SCOPE
            )
            back = await Visitor(browser, self.provider.url, name).go(await accounts.address(asked))
            code = parse_qs(urlsplit(back).query)["code"][0]
            return (await accounts.exchange(code, asked)).proof


@pytest.fixture(scope="module")
def server(app_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("stager"), free_port()
    callback = f"http://localhost:{port}/event_receiver"
    with doubles.oidc(tmp_path_factory.mktemp("oidc"), callback) as provider:
        server = Server(folder, app_image, provider, port)
        server.configure("github")
        try:
            server.stager.start()
            yield server
        finally:
            print(f"--- {server.stager.log}\n{server.stager.log.read_text()[-8000:]}")
            server.stager.clean_up()


Meet = Callable[[str], Guest]


@pytest.fixture
def meet(server: Server, tmp_path: Path) -> Iterator[Meet]:
    """A user by their name at the provider, with the command configured."""
    met: list[Guest] = []

    def meet(name: str) -> Guest:
        folder = tmp_path / name
        folder.mkdir()
        guest = Guest(folder, server, name)
        met.append(guest)
        guest.configure()
        return guest

    yield meet
    for guest in met:
        guest.leave()


@pytest.mark.requirement(
    "R95", "R96", "R98", "R99", "R102", "R103", "R104", "R106", "R108", "R109", "R111", "R112", "R113",
    "R116", "R117", "R118", "R119", "R120", "R121", "R122",
)  # fmt: skip
def test_the_section_on_the_command_line(server: Server, meet: Meet) -> None:
    stager, octocat = server.stager, meet("octocat")

    launching = octocat.sit("launch", APP, "master")
    asked, agreed, live = octocat.seen(3)
    assert launching.ends() == 0, launching.said

    # What the terminal and the browser have said on the way.
    assert "Authorize the command line?" in asked.text
    assert "as octocat" in asked.text
    assert urlsplit(asked.url)._replace(query="").geturl() == f"{server.home}/event_receiver"
    code = launching.said.partition("the page shows this code: ")[2][:9]
    assert code.replace("-", "").isalpha()
    assert code in asked.text
    assert "You can close this window" in agreed.text
    assert "Signed in as octocat." in launching.said
    assert "Waiting for its first answer" in launching.said or "Starting" in launching.said
    assert "Live after" in launching.said

    # It is the branch that was asked for, and the browser is there.
    url = f"http://master.localhost:{stager.port}"
    assert octocat.visits(2)[1:] == [url]
    assert (live.url.rstrip("/"), live.status, live.text) == (url, 200, "master")
    assert url in launching.said

    # The second time nothing is asked, and no browser is opened unless it is wanted.
    again = octocat.does("launch", APP, "feature/Other", "--no-open")
    assert f"http://feature-other.localhost:{stager.port}" in again.said
    assert len(octocat.visits(2)) == 2
    assert stager.get("feature-other").text.startswith("feature/Other")
    assert "octocat (by GithubAuthentication)" in octocat.does("whoami").said
    listed = octocat.does("list").said
    assert "master" in listed
    assert "feature/Other" in listed

    # The secret is printed once and nowhere else.
    _assert_nothing_leaked(server, octocat, launching.said)
    _assert_over(server, octocat.visits(1)[0])

    octocat.does("kill", APP, "master")
    assert stager.get("master").status_code == 410
    octocat.does("kill", APP, "feature/Other")
    until(lambda: not stager.containers(), "nothing is left of them")

    bearer = {"Authorization": f"Bearer {octocat.token}"}
    assert server.get("/api/v1/whoami", bearer).status_code == 200
    assert "Signed out" in octocat.does("logout").said
    assert server.get("/api/v1/whoami", bearer).status_code == 401, "a copy is worth nothing"
    refused = octocat.run("list")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "stager_session_" not in octocat.kept


def _assert_nothing_leaked(server: Server, guest: Guest, said: str) -> None:
    """Neither the command's token nor the provider's nor our secret is where it doesn't belong."""
    kept, token = guest.kept, guest.token
    shown = said + guest.run("configure").stdout + guest.run("configure", "--json").stdout
    pages = "".join(page.text + page.url for page in guest.seen(3)) + guest.visited.read_text()
    inside = "".join(docker("inspect", container) for container in server.stager.containers())
    elsewhere = shown + pages + inside + server.stager.log.read_text()
    assert "container_name=master" in inside
    assert token not in elsewhere
    for secret in (CLIENT_SECRET, "gho_"):  # not even its owner gets to see the provider's token
        assert secret not in elsewhere + kept
    assert {file.stat().st_mode & 0o077 for file in guest.files()} == {0}
    stored = [file.read_bytes() for file in server.stager.state.rglob("*") if file.is_file()]
    assert not [content for content in stored if b"gho_" in content or token.encode() in content]


def _assert_over(server: Server, address: str) -> None:
    """The state of this sign-in is good for nothing any more, nor is one that was never given out."""
    state = parse_qs(urlsplit(address).query)["state"][0]
    for taken in (state, new_secret()):
        late = server.post("/event_receiver", action="get_oauth_token", state=taken, verifier=new_secret())
        assert late.status_code == 410, late.text
        back = f"{server.stager.url}/event_receiver?state={taken}&code=x"
        assert httpx.get(back, trust_env=False).status_code == 403


@pytest.mark.requirement("R97", "R98", "R100", "R109", "R110")
def test_only_users_with_push_access_may_launch(server: Server, meet: Meet) -> None:
    reader = meet("ann-reader")
    launch = reader.sit("launch", APP, "mine")
    assert launch.ends() == 4, launch.said
    assert "Signed in as ann-reader." in launch.said
    assert reader.does("list")  # users with read access may list

    form = {"image_name": APP, "container_name": "curled"}
    assert server.post("/launch", **form).status_code == 401
    given = {
        server.token("ann-reader"): {403},
        server.token("bob-stranger"): {403, 404},  # what they may not see isn't there
        "gho_nobodysatall0000": {401},
        "": {401},
    }
    for token, statuses in given.items():
        for path in ("/launch", "/kill"):
            answer = server.post(path, **form, github_token=token)
            assert answer.status_code in statuses, (path, answer.text)
    push = server.token("octocat")
    for wrong in ({"container_name": "curled"}, {"container_name": "curled", "image_name": "other"}):
        assert 400 <= server.post("/launch", **wrong, github_token=push).status_code < 500
    assert server.stager.containers() == []

    answer = server.post("/launch", **form, github_token=push)
    assert (answer.status_code, answer.text) == (200, f"http://curled.localhost:{server.stager.port}")
    [container] = server.stager.containers()
    assert push not in docker("inspect", container) + server.stager.log.read_text()
    assert server.post("/kill", **form, github_token=push).status_code == 200


@pytest.mark.requirement("R111", "R119")
def test_where_there_is_no_browser_a_code_does(server: Server, meet: Meet) -> None:
    """After a restart, because this provider, unlike GitHub, has a client of its own for that."""
    server.configure("device")
    server.stager.restart()
    guest = meet("mona")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        guest.environ.pop(name, None)
    login = guest.sit("login")
    said = login.wait_for("and enter this code: ")
    address = said.partition("Open ")[2].partition(" in any browser")[0]
    code = until(lambda: CODE.search(login.said), "the code is whole").group(1)
    assert address.startswith(server.provider.url)
    asyncio.run(_type_in(server, address, code))

    assert login.ends() == 0, login.said
    assert "Signed in as mona." in login.said
    assert not guest.visited.exists()
    assert "mona (by GithubAuthentication)" in guest.does("whoami").said


async def _type_in(server: Server, address: str, code: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        await Visitor(client, server.provider.url, "mona").go(address, user_code=code)
