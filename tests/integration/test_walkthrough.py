"""The walkthrough's own steps, with the commands that a person types."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker

WALKTHROUGH = Path(__file__).parent.parent / "fixtures" / "walkthrough"


def curl(*arguments: str) -> str:
    """What curl prints; it resolves `*.localhost` by itself (RFC 6761)."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *arguments],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_r23_it_says_that_it_runs_before_anything_is_configured(
    tmp_path: Path, make_stager: MakeStager
) -> None:
    stager = make_stager(start=False)
    stager.config.write_text(
        f"listen: 127.0.0.1:0\nstate_dir: {stager.state}\nlog_format: json\nhelper: off\n"
    )
    stager.start()
    page = stager._client.get(stager.url, headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "Stager is running" in page.text


def test_r57_to_r60_launch_with_curl_as_written(shared_stager: StagerUnderTest) -> None:
    base = f"http://localhost:{shared_stager.port}"
    form = "image_name=shop&container_name=test"
    url = curl("--user", f"{USER}:{PASSWORD}", "-d", form, f"{base}/launch")
    assert url == f"http://test.localhost:{shared_stager.port}"
    assert curl(url).startswith("test")
    assert curl("--user", f"{USER}:{PASSWORD}", "-d", form, f"{base}/kill") == "ok"
    assert "gone" in curl(url)
    assert shared_stager.containers() == []


@pytest.mark.parametrize("credentials", [None, "testuser:wrong", "nobody:test:password", ":"])
def test_r57_without_the_right_credentials_nothing_starts(
    shared_stager: StagerUnderTest, credentials: str | None
) -> None:
    given = ["--user", credentials] if credentials else []
    form = "image_name=shop&container_name=test"
    status = curl(
        *given,
        "-d",
        form,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        f"http://localhost:{shared_stager.port}/launch",
    )
    assert status == "401"
    assert shared_stager.containers() == []


def test_r59_the_url_is_a_slug_of_the_name(shared_stager: StagerUnderTest) -> None:
    url = shared_stager.launched("name_to_give_container")
    assert url == f"http://name-to-give-container.localhost:{shared_stager.port}"


@pytest.mark.parametrize("block", ["block1.yml", "block2.yml", "block3.yml"])
def test_r62_each_configuration_of_the_walkthrough_starts(make_stager: MakeStager, block: str) -> None:
    stager = make_stager(start=False)
    native = f"listen: 127.0.0.1:0\nstate_dir: {stager.state}\nlog_format: json\nhelper: off\n"
    stager.config.write_text(native + (WALKTHROUGH / block).read_text())
    stager.start()
    assert stager._client.get(stager.url).status_code == 200
    form = {"image_name": "stager-demo", "container_name": "test"}
    assert stager._client.post(f"{stager.url}/launch", data=form, auth=("a", "b")).status_code == 401


def test_r43_create_parameters_are_passed_through(make_stager: MakeStager) -> None:
    names = ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce", "Tty")
    wanted = dict.fromkeys(names, True)
    stager = make_stager(images={"shop": {"container_create_params": {**wanted, "Hostname": "shopkeeper"}}})
    stager.launched()
    config = stager.inspect(stager.containers()[0])["Config"]
    assert {name: config[name] for name in wanted} == wanted
    assert config["Hostname"] == "shopkeeper"


def test_r83_r84_parameters_become_environment_variables(shared_stager: StagerUnderTest) -> None:
    shared_stager.launched("feature/Ümlaut", COLOUR="blue=green", empty="")
    variables = shared_stager.get("feature-umlaut", "/env").json()
    assert variables["container_name"] == "feature/Ümlaut"
    assert variables["image_name"] == "shop"
    assert variables["COLOUR"] == "blue=green"
    assert variables["empty"] == ""
    assert variables["STAGER_URL"] == f"http://feature-umlaut.localhost:{shared_stager.port}"


def test_r126_no_parameter_decides_what_runs(shared_stager: StagerUnderTest) -> None:
    evil = dict.fromkeys(("command", "image", "port", "Image", "Cmd", "HostConfig"), "evil")
    assert shared_stager.post("/launch", image_name="shop", container_name="test", **evil).status_code == 200
    facts = shared_stager.inspect(shared_stager.containers()[0])
    assert facts["Config"]["Cmd"] == ["python3", "/server.py"]
    assert facts["Config"]["Image"] == docker("image", "inspect", "-f", "{{.Id}}", "stager-test/app:1")
    assert not facts["HostConfig"]["Binds"]
    assert not facts["HostConfig"]["Privileged"]
    for name in ("BASH_ENV", "LD_PRELOAD", "PYTHONSTARTUP", "STAGER_URL", "no-dash"):
        refused = shared_stager.launch("other", **{name: "x"})
        assert refused.status_code == 400, name
        assert name in refused.text
    assert len(shared_stager.containers()) == 1


def test_r89_the_image_is_resolved_at_each_launch(make_stager: MakeStager) -> None:
    docker("tag", "stager-test/app:1", "stager-test/moving:1")
    stager = make_stager(images={"shop": {"image": "stager-test/moving:1"}})
    stager.launched()
    first = stager.inspect(stager.containers()[0])["Image"]
    docker("commit", "--change", "ENV VERSION=committed", stager.containers()[0], "stager-test/moving:1")
    stager.launched()
    assert stager.get("test").text == "test committed"
    assert stager.inspect(stager.containers()[0])["Image"] != first
    stager.kill("test")
    docker("rmi", "stager-test/moving:1")


def test_r30_foreign_containers_are_never_touched(stager: StagerUnderTest) -> None:
    foreign = docker("create", "--label", "stager.test=1", "stager-test/app:1", "true")
    another = docker("create", "--label", "stager.test=1", "--label", "stager.installation=test-other",
                     "--label", "stager.environment=x", "stager-test/app:1", "true")  # fmt: skip
    try:
        stager.launched()
        stager.launched()
        stager.kill("test")
        stager.restart()
        assert docker("ps", "-aq", "--no-trunc", "--filter", f"id={foreign}") == foreign
        assert docker("ps", "-aq", "--no-trunc", "--filter", f"id={another}") == another
    finally:
        docker("rm", foreign, another)


def test_r56_previews_survive_a_hard_kill_of_stager(stager: StagerUnderTest) -> None:
    stager.launched()
    stager.kill9()
    assert stager.get("test").text == "test "
    stager.start()
    assert stager.get("test").text == "test "
    assert stager.kill("test").text == "ok"
    assert stager.get("test").status_code == 410


def test_r3_a_preview_is_public_and_states_are_pages(shared_stager: StagerUnderTest) -> None:
    shared_stager.launched()
    assert shared_stager.get("test").status_code == 200
    unknown = shared_stager.get("never-heard-of", Accept="text/html")
    assert unknown.status_code == 404
    assert unknown.headers["content-type"].startswith("text/html")
    assert shared_stager.get("never-heard-of").headers["content-type"] == "application/problem+json"


def test_stopping_is_orderly_and_leaves_previews_running(stager: StagerUnderTest) -> None:
    stager.launched()
    assert stager.terminate() == 0
    assert stager.get("test").text == "test "
    home = stager._client.get(stager.url)
    assert home.status_code == 503
    assert home.headers["retry-after"]
