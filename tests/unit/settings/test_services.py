"""Services in the configuration and in the repository file."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import get_args

import pytest

from stager.domain.application import Application
from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.domain.service import Condition, Mount, ServiceCheck, ServiceSpec, VolumePolicy
from stager.domain.source import Trust
from stager.domain.stack import StackDeclaration
from stager.settings.repository_file import ParsedFile, read_file
from stager.settings.schema import to_yaml
from stager.settings.sections.applications import RepositoryKey
from tests.unit.settings.conftest import LoadText


def configured(load_text: LoadText, text: str, more: str = "", **environ: str) -> Application:
    lines = "\n".join(f"      {line}" for line in dedent(text).strip().splitlines())
    file = f"{more}\nimages:\n  shop:\n    build: .\n    port: 80\n    services:\n{lines}\n"
    return load_text(file, **environ).settings.applications.get("shop")


def in_the_file(text: str, *known: str) -> ParsedFile:
    return read_file(text.encode(), ".stager.yml", get_args(RepositoryKey), known)


def specs(application: Application) -> dict[str, ServiceSpec]:
    return {spec.name: spec for spec in application.stack.services}


def test_every_key_of_a_service(load_text: LoadText) -> None:
    found = specs(
        configured(
            load_text,
            """
            a:
              image: elastic:8
              command: serve --now
              entrypoint: [bin/start]
              env: {DEBUG: true, WORKERS: 2}
              routed: 9200
              health: {path: /up, interval: 2s, timeout: 3s, start_timeout: 1m}
              depends_on: {b: started}
              memory: 256m
              cpus: 0.5
              volumes: [data:/data, "./conf/a.yml:/etc/a.yml:ro", /scratch]
              tmpfs: /tmp/
              user: "1000:1000"
              working_dir: /srv
              stop_grace_period: 5s
            b: {build: {context: b, target: x, args: {C: d}}}
            """,
        )
    )

    assert found["a"] == ServiceSpec(
        "a",
        image="elastic:8",
        command=("serve", "--now"),
        entrypoint=("bin/start",),
        variables={"DEBUG": "true", "WORKERS": "2"},
        port=9200,
        check=ServiceCheck(path="/up", interval=2.0, timeout=3.0, start_timeout=60.0),
        depends_on={"b": Condition.STARTED},
        mounts=(
            Mount("/data", volume="data"),
            Mount("/etc/a.yml", content="conf/a.yml", is_read_only=True),
            Mount("/scratch"),
        ),
        tmpfs=("/tmp",),
        memory=256 << 20,
        cpus=0.5,
        user="1000:1000",
        working_dir="/srv",
        stop_grace_period=5.0,
    )
    assert found["b"].build == Recipe("b", target="x", arguments={"C": "d"})
    assert found["web"].build == Recipe(".")


@pytest.mark.parametrize(
    ("written", "check"),
    [
        ("/up", ServiceCheck(path="/up")),
        ("5432", ServiceCheck(port=5432)),
        ("none", ServiceCheck(is_disabled=True)),
        ("[is, ready]", ServiceCheck(command=("is", "ready"))),
        ("{command: is ready}", ServiceCheck(command=("is", "ready"))),
        ("{timeout: 2s}", None),
        ("", None),
    ],
)
def test_the_forms_of_a_health_check(load_text: LoadText, written: str, check: ServiceCheck | None) -> None:
    found = specs(configured(load_text, f"a: {{image: x, routed: 80, health: {written}}}"))
    assert found["a"].check == check


def test_a_list_waits_for_jobs_to_end_and_for_others_to_be_healthy(load_text: LoadText) -> None:
    found = specs(
        configured(load_text, "a: {image: x, depends_on: [b, c]}\nb: {command: y, job: true}\nc: z")
    )
    assert found["a"].depends_on == {"b": Condition.COMPLETED, "c": Condition.HEALTHY}


def test_code_waits_for_images_and_jobs_unless_it_says_otherwise(load_text: LoadText) -> None:
    found = specs(
        configured(
            load_text,
            """
            database: postgres:16
            migrate: {command: migrate, job: true}
            worker: {command: work}
            eager: {command: go, depends_on: []}
            proxy: {image: proxy, depends_on: [web]}
            seed: {command: seed, job: true, depends_on: [web]}
            """,
        )
    )
    ready = {"database": Condition.HEALTHY, "migrate": Condition.COMPLETED}
    assert found["web"].depends_on == found["worker"].depends_on == ready
    assert found["migrate"].depends_on == {"database": Condition.HEALTHY}
    assert found["eager"].depends_on == found["database"].depends_on == {}
    assert found["seed"].depends_on == found["proxy"].depends_on == {"web": Condition.HEALTHY}


def test_an_entry_of_the_main_service_completes_it(load_text: LoadText) -> None:
    application = configured(
        load_text, "web: {volumes: [up:/up], user: app, memory: 64m, depends_on: [a]}\na: x"
    )
    main = application.stack.main_service
    assert (main.mounts, main.user, main.memory) == ((Mount("/up", volume="up"),), "app", 64 << 20)
    assert main.depends_on == {"a": Condition.HEALTHY}
    assert (main.port, main.is_built, main.is_stateful) == (80, True, False)


def test_services_with_a_profile_run_only_if_it_is_active(load_text: LoadText) -> None:
    application = configured(load_text, "cron: {command: x, profiles: [cron, all]}\nmail: maildev")
    assert set(specs(application)) == {"web", "mail"}
    active = application.with_declared(StackDeclaration(profiles=frozenset({"all"})))
    assert set(specs(active)) == {"web", "mail", "cron"}


def test_what_waits_for_a_service_without_its_profile_cant_start(load_text: LoadText) -> None:
    application = configured(load_text, "a: {command: x, profiles: extra}\nb: {command: x, depends_on: [a]}")
    with pytest.raises(Fault, match=r'b can\'t start: it depends on a, .* profile "extra" only') as caught:
        _ = application.stack
    assert caught.value.reason == "services-invalid"
    assert "Add the profile to `profiles`" in caught.value.hint


class TestSecrets:
    @pytest.mark.attack(
        "A secret in a service's `env`",
        profile="code from a fork",
        result="isn't part of the service; only trusted code gets it",
    )
    def test_references_are_kept_apart(self, load_text: LoadText) -> None:
        application = configured(load_text, "a: {command: x, env: {KEY: '${KEY}', B: c}}", KEY="hunter2")
        assert application.service_secrets == {"a": {"KEY": "hunter2"}}
        assert specs(application)["a"].variables == {"B": "c"}
        assert "hunter2" not in repr(application)

    def test_they_are_masked_in_the_settings_in_force(self, load_text: LoadText) -> None:
        settings = load_text(
            "images: {shop: {port: 80, services: {a: {image: x, env: {KEY: '${KEY}'}}}}}", KEY="hunter2"
        ).settings
        assert "hunter2" not in to_yaml(settings)


def test_settings_in_force_can_be_read_again(load_text: LoadText) -> None:
    settings = load_text(
        "images: {shop: {port: 80, services: {a: {image: x, health: /up, routed: 80, depends_on: b,"
        " volumes: ['d:/d'], memory: 1g}, b: {command: [x, y z], job: true}}, volumes: {d: fresh},"
        " profiles: [p]}}"
    ).settings
    assert load_text(to_yaml(settings)).settings == settings


class TestCompose:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [("true", ""), ("deploy/compose.yaml", "deploy/compose.yaml"), ("false", None), ("", None)],
    )
    def test_where_the_file_is(self, load_text: LoadText, written: str, expected: str | None) -> None:
        text = f"images: {{shop: {{build: ., web: app, compose: {written}, volumes: {{d: fresh}}}}}}"
        if expected is None:
            text = text.replace(", volumes: {d: fresh}", "")
        declared = load_text(text).settings.applications.get("shop").declared
        assert (declared.compose, declared.main) == (expected, "app")
        assert in_the_file(f"compose: {written}").declared.compose == expected


class TestRepositoryFile:
    def test_services_replace_the_configurations_by_name(self, load_text: LoadText) -> None:
        application = configured(load_text, "database: postgres:15\ncache: redis")
        file = in_the_file(
            "services:\n  database: postgres:16\n  worker: {command: x}\nvolumes: {database-data: fresh}\n"
        )
        application = application.with_declared(file.declared)
        found = specs(application)
        assert found["database"].image == "postgres:16"
        assert set(found) == {"web", "database", "cache", "worker"}
        assert application.stack.volumes == {"database-data": VolumePolicy.FRESH}

    def test_they_may_wait_for_the_configurations(self, load_text: LoadText) -> None:
        application = configured(load_text, "database: postgres:15")
        file = in_the_file("services: {worker: {command: x, depends_on: [database]}}", "database")
        assert specs(application.with_declared(file.declared))["worker"].depends_on == {
            "database": Condition.HEALTHY
        }

    def test_the_order_is_that_of_the_service_that_replaces(self, load_text: LoadText) -> None:
        application = configured(load_text, "a: x\nb: {command: y, depends_on: []}")
        file = in_the_file("services: {b: {command: z}}")
        assert specs(application)["b"].depends_on == {}
        replaced = specs(application.with_declared(file.declared))
        assert replaced["b"].depends_on == {"a": Condition.HEALTHY}

    def test_its_compose_file_replaces_the_services(self, load_text: LoadText) -> None:
        application = configured(load_text, "database: postgres:15")
        declared = application.with_declared(in_the_file("compose: true").declared).declared
        assert (declared.compose, declared.services) == ("", ())

    def test_its_services_replace_the_compose_file(self, load_text: LoadText) -> None:
        settings = load_text("images: {shop: {build: ., compose: true}}").settings
        application = settings.applications.get("shop")
        declared = application.with_declared(in_the_file("services: {a: x}").declared).declared
        assert declared.compose is None
        assert [spec.name for spec in declared.services] == ["a"]

    def test_without_services_those_of_the_configuration_run(self, load_text: LoadText) -> None:
        application = configured(load_text, "database: postgres:15")
        assert set(specs(application.with_declared(in_the_file("port: 1").declared))) == {"web", "database"}

    @pytest.mark.parametrize("key", ["services", "compose", "web", "volumes", "profiles"])
    def test_each_key_may_be_forbidden(self, key: str) -> None:
        with pytest.raises(Fault, match="isn't allowed in this file"):
            read_file(f"{key}:".encode(), ".stager.yml", set(get_args(RepositoryKey)) - {key})

    @pytest.mark.parametrize("key", ["secrets", "allow_create_params", "forks"])
    def test_a_service_has_nothing_that_only_the_configuration_may_give(self, key: str) -> None:
        with pytest.raises(Fault) as caught:
            in_the_file(f"services: {{a: {{image: x, {key}: y}}}}")
        assert f"services.a.{key}" in caught.value.detail

    def test_variables_of_the_server_arent_expanded(self) -> None:
        found = in_the_file("services: {a: {image: x, env: {A: '${HOME}', B: 'file:/etc/passwd'}}}")
        assert found.declared.services[0].variables == {"A": "${HOME}", "B": "file:/etc/passwd"}


class TestForks:
    @pytest.mark.attack(
        "A service with an image of its choice",
        profile="code from a fork",
        result="refused, unless it is of the catalogue, in forks.images, or in the configuration",
    )
    @pytest.mark.parametrize(
        "image", ["evil/miner", "evil.example.org/postgres:16", "ghcr.io/acme/tools/x", "elastic:7"]
    )
    def test_images_outside_the_list_are_refused(self, load_text: LoadText, image: str) -> None:
        application = configured(
            load_text, "search: solr:9", "forks: {images: [catalogue, 'elastic:8*', 'ghcr.io/acme/*']}"
        )
        with pytest.raises(Fault) as caught:
            application.check_images([ServiceSpec("a", image=image)], Trust.FORK)
        assert caught.value.reason == "image-not-allowed"
        assert image in caught.value.message
        assert "`forks.images`" in caught.value.hint
        application.check_images([ServiceSpec("a", image=image)], Trust.TRUSTED)

    @pytest.mark.parametrize(
        "image", ["postgres:16", "solr:9", "elastic:8.1", "docker.io/library/redis", "ghcr.io/acme/x:1"]
    )
    def test_images_of_the_list_are_allowed(self, load_text: LoadText, image: str) -> None:
        application = configured(
            load_text, "search: solr:9", "forks: {images: [catalogue, 'elastic:8*', 'ghcr.io/acme/*']}"
        )
        application.check_images([ServiceSpec("a", image=image), ServiceSpec("b")], Trust.FORK)

    def test_an_empty_list_allows_the_configurations_only(self, load_text: LoadText) -> None:
        application = configured(load_text, "search: solr:9", "forks: {images: []}")
        application.check_images([ServiceSpec("a", image="solr:9")], Trust.FORK)
        with pytest.raises(Fault):
            application.check_images([ServiceSpec("a", image="postgres:16")], Trust.FORK)


def test_a_circle_over_both_files_is_found_before_anything_starts(load_text: LoadText) -> None:
    application = configured(load_text, "a: {image: x, depends_on: [b]}\nb: x")
    file = in_the_file("services: {b: {image: x, depends_on: [a]}}", "a")
    with pytest.raises(Fault, match="is a circle: a -> b -> a"):
        _ = application.with_declared(file.declared).stack


@pytest.mark.parametrize("text", ["compose: true", "services: {admin: {build: admin}}"])
def test_services_of_the_repositorys_code_imply_a_build(load_text: LoadText, text: str) -> None:
    settings = load_text(f"images: {{shop: {{{text}}}}}").settings
    application = settings.applications.get("shop")
    assert (application.build, application.needs_commit, application.port) == (Recipe(), True, None)
    assert load_text(f"images: {{shop: {{{text}}}}}\nlocal_forge: repos").settings.local_forge


def test_an_application_of_a_prebuilt_image_has_services(load_text: LoadText) -> None:
    settings = load_text("images: {shop: {port: 80, services: {database: postgres}}}").settings
    application = settings.applications.get("shop")
    assert application.stack.main_service.depends_on == {"database": Condition.HEALTHY}
    assert replace(application, declared=StackDeclaration()).stack.services == (
        replace(application.stack.main_service, depends_on={}),
    )


@pytest.mark.attack(
    "A repository file with thousands of services, dependencies or volumes",
    profile="repository's own code",
    result="refused after a bounded number of problems",
)
@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("services: {" + ",".join(f"s{i}: x" for i in range(3000)) + "}", 1),
        ("services: {a: {image: x, depends_on: [" + ",".join(f"n{i}" for i in range(4000)) + "]}}", 100),
        ("services: {a: x}\nvolumes: {" + ",".join(f"v{i}: keep" for i in range(2000)) + "}", 30),
    ],
)
def test_what_is_reported_of_a_huge_file_is_bounded(text: str, problems: int) -> None:
    with pytest.raises(Fault) as caught:
        in_the_file(text)
    assert len(caught.value.detail.splitlines()) == problems
