"""Launching, refreshing and killing: names, numbers, and everything that can be wrong with an application."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import StagerUnderTest, docker, until


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("feature/login-form", "feature-login-form"),
        ("release/1.2.3", "release-1-2-3"),
        ("-lead and trail-", "lead-and-trail"),
        ("émile", "emile"),
        ("Feature/ABC-123", "feature-abc-123"),
    ],
)
def test_r59_slugs_are_subdomains(shared_stager: StagerUnderTest, name: str, slug: str) -> None:
    assert shared_stager.launched(name) == f"http://{shared_stager.host(slug)}"
    assert shared_stager.get(slug, "/env").json()["container_name"] == name


@pytest.mark.parametrize("name", ["日本", "x" * 80, "..."])
def test_r59_names_without_a_legal_slug_get_one(shared_stager: StagerUnderTest, name: str) -> None:
    label = shared_stager.launched(name).removeprefix("http://").partition(".")[0]
    assert 0 < len(label) <= 63
    assert shared_stager.get(label, "/env").json()["container_name"] == name


def test_r59_names_that_collide_get_hosts_of_their_own(make_stager: MakeStager) -> None:
    stager = make_stager(images={"shop": {}, "blog": {}})
    names = ["foo_bar", "foo.bar", "foo-bar"]
    urls = {stager.launched(name) for name in names} | {stager.launched("foo_bar", "blog")}
    assert len(urls) == 4
    for url in urls:
        assert stager.get(url.removeprefix("http://").partition(".")[0]).text.startswith("foo")


def test_the_name_default_is_reserved(shared_stager: StagerUnderTest) -> None:
    for name in ("default", "Default", "DEFAULT"):
        assert shared_stager.launch(name).status_code == 400
    assert shared_stager.containers() == []


def test_bad_requests_say_what_is_wrong(shared_stager: StagerUnderTest) -> None:
    for form, words in [
        ({"container_name": "x"}, "image_name"),
        ({"image_name": "shop"}, "No name specified"),
        ({"image_name": "shop", "container_name": " "}, "No name specified"),
        ({"image_name": "shpo", "container_name": "x"}, 'Did you mean "shop"?'),
        ({"image_name": "shop", "container_name": "x", "wait": "soon"}, "wait"),
    ]:
        answer = shared_stager.post("/launch", **form)
        assert answer.status_code == 400
        assert words in answer.text
    assert shared_stager.kill("never-launched").text == "ok"
    assert shared_stager.containers() == []


def test_r7_many_at_once_each_with_its_own(shared_stager: StagerUnderTest) -> None:
    names = [f"branch-{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:
        urls = list(pool.map(shared_stager.launched, names))
    assert len(set(urls)) == len(names)
    for name in names:
        assert shared_stager.get(name).text == f"{name} "
    networks = [
        next(iter(shared_stager.inspect(c)["NetworkSettings"]["Networks"]))
        for c in shared_stager.containers()
    ]
    assert len(set(networks)) == len(names)


def test_r9_nothing_that_happens_to_one_changes_another(shared_stager: StagerUnderTest) -> None:
    shared_stager.launched("a", VERSION="1")
    before = shared_stager.containers("label=stager.name=a")
    shared_stager.launched("b")
    shared_stager.launched("b")
    shared_stager.launch("c", EXIT="1")
    shared_stager.kill("b")
    assert shared_stager.get("a").text == "a 1"
    assert shared_stager.containers("label=stager.name=a") == before


def test_r93_the_same_name_again_is_a_refresh_at_the_same_url(shared_stager: StagerUnderTest) -> None:
    first = shared_stager.launched(VERSION="1")
    assert shared_stager.launched(VERSION="2") == first
    assert shared_stager.get("test").text == "test 2"
    until(lambda: len(shared_stager.containers()) == 1, "the old instance is retired")
    assert len(shared_stager.networks()) == 1


def test_launch_can_answer_at_once(shared_stager: StagerUnderTest) -> None:
    answer = shared_stager.launch(BOOT="1.5", wait="0")
    assert answer.status_code == 202
    page = shared_stager.get("test", Accept="text/html")
    assert page.status_code == 503
    assert 'http-equiv="refresh"' in page.text or "http-equiv=refresh" in page.text
    shared_stager.wait_for("test", "live")
    assert shared_stager.get("test").text == "test "


BROKEN = [
    ({"EXIT": "3"}, {}, "exit code 3", "giving up: the database is missing"),
    ({"DEAF": "1"}, {"start_timeout": 2}, "didn't listen on any port", "booting"),
    ({"STATUS": "500"}, {"start_timeout": 2}, "answered with status 500", "booting"),
    ({"STATUS": "404"}, {"start_timeout": 2, "health_path": "/ready"}, "answered with status 404", "booting"),
    ({}, {"command": "/bin/not-there"}, "", "not-there"),
    ({}, {"image": "127.0.0.1:9/not/there:1"}, 'image "127.0.0.1:9/not/there:1" isn', ""),
]


@pytest.mark.parametrize(("parameters", "app", "words", "line"), BROKEN)
def test_a_broken_application_is_explained(
    make_stager: MakeStager, parameters: dict[str, str], app: dict[str, object], words: str, line: str
) -> None:
    stager = make_stager(images={"shop": app})
    answer = stager.launch(**parameters)
    assert answer.status_code == 503
    assert "Failed while" in answer.text
    assert words in answer.text
    assert line in answer.text
    page = stager.get("test", Accept="text/html")
    assert page.status_code >= 500
    assert words.partition('"')[0] in page.text.replace("&#x27;", "'").replace("&#39;", "'")
    until(lambda: not stager.containers(), "the failed instance is removed")


def test_a_broken_refresh_leaves_the_old_revision_serving(shared_stager: StagerUnderTest) -> None:
    shared_stager.launched(VERSION="good")
    answer = shared_stager.launch(VERSION="bad", EXIT="1")
    assert answer.status_code == 503
    assert shared_stager.get("test").text == "test good"
    assert shared_stager.environment("test")["state"] == "failed-update"
    shared_stager.launched(VERSION="better")
    assert shared_stager.get("test").text == "test better"


def test_the_newest_request_wins_over_one_under_way(stager: StagerUnderTest) -> None:
    stager.launch(VERSION="1", BOOT="30", wait="0")
    until(stager.containers, "the first is starting")
    stager.launched(VERSION="2")
    assert stager.get("test").text == "test 2"
    until(lambda: len(stager.containers()) == 1, "the overtaken one is removed")
    phases = [d["phase"] for d in stager.api(f"/environments/{stager.environment('test')['id']}/deployments")]
    assert phases == ["live", "superseded"]


def test_a_kill_while_it_starts_leaves_nothing(shared_stager: StagerUnderTest) -> None:
    shared_stager.launch(BOOT="30", wait="0")
    until(shared_stager.containers, "it is starting")
    assert shared_stager.kill("test").text == "ok"
    until(lambda: not shared_stager.containers(), "nothing is left")
    assert shared_stager.get("test").status_code == 410


def test_the_api_lists_gets_redeploys_and_kills(shared_stager: StagerUnderTest) -> None:
    body = {"image_name": "shop", "container_name": "api", "parameters": {"VERSION": "7"}}
    launched = shared_stager.api("/environments", "POST", json=body)
    shared_stager.wait_for("api", "live")
    again = shared_stager.api(f"/environments/{launched['id']}/redeploy", "POST")
    assert again["generation"] == 2
    until(lambda: shared_stager.environment("api")["serving"] == 2, "the second generation serves")
    assert shared_stager.get("api").text == "api 7"
    log = shared_stager._client.get(
        f"{shared_stager.url}/api/v1/environments/{launched['id']}/log", auth=("testuser", "test:password")
    )
    assert "booting api" in log.text
    shared_stager.api(f"/environments/{launched['id']}", "DELETE")
    until(lambda: not shared_stager.containers(), "it is removed")
    assert [e["name"] for e in shared_stager.api()] == []


def test_an_instance_is_confined(shared_stager: StagerUnderTest) -> None:
    shared_stager.launched()
    host = shared_stager.inspect(shared_stager.containers()[0])["HostConfig"]
    assert host["Memory"] == 512 * 1024 * 1024
    assert host["NanoCpus"] == 1_000_000_000
    assert host["PidsLimit"] == 256
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "no"
    no_privileges, profile = host["SecurityOpt"]
    assert no_privileges == "no-new-privileges"
    assert profile.startswith('seccomp={"defaultAction":"SCMP_ACT_ERRNO"')
    assert host["MemorySwap"] == host["Memory"]
    assert {limit["Name"]: limit["Hard"] for limit in host["Ulimits"]} == {"core": 0, "nofile": 16_384}
    assert {"CAP_NET_RAW", "CAP_MKNOD", "CAP_AUDIT_WRITE"} <= {
        f"CAP_{c.removeprefix('CAP_')}" for c in host["CapDrop"]
    }
    assert not host["PortBindings"], "nobody can go round the front"


def test_instances_are_reached_by_a_published_port_where_addresses_cannot_be_dialled(
    make_stager: MakeStager,
) -> None:
    stager = make_stager(engine={"connect_via": "loopback"})
    stager.launched(VERSION="1")
    stager.launched(VERSION="2")
    assert stager.get("test").text == "test 2"
    bindings = stager.inspect(stager.containers()[0])["NetworkSettings"]["Ports"]["3000/tcp"]
    assert [b["HostIp"] for b in bindings] == ["127.0.0.1"]


def test_no_network_stays_behind_a_kill_or_a_stop(stager: StagerUnderTest) -> None:
    names = [f"branch-{number}" for number in range(4)]
    for name in names:
        stager.launched(name)
    assert len(stager.networks()) == len(names)
    for left, name in enumerate(reversed(names)):
        assert stager.kill(name).text == "ok"
        assert len(stager.networks()) == len(names) - left - 1, "it went before the answer"

    stager.launched("stays")
    stray = f"stager-{stager.installation}-stray"
    docker("network", "create", "--label", f"stager.installation={stager.installation}", stray)
    assert stager.terminate() == 0
    assert len(stager.containers()) == len(stager.networks()) == 1, "what runs keeps its own"
    stager.start()
    assert stager.get("stays").text.startswith("stays")
