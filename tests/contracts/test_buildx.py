"""What only Docker's builder can do, or have done to it."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry
from stager.domain.recipe import Recipe
from stager.engines.docker import BuildxBuilder, connect
from stager.ports.builder import BuildOrder, ImageFacts
from tests.contracts.builders import ENGINE, BuildxUnderTest, buildx_under_test, docker, docker_knows
from tests.contracts.engines import IMAGE

pytestmark = pytest.mark.docker

SECRET = "correct-horse-battery-staple"


@pytest.fixture
async def buildx(tmp_path: Path) -> AsyncIterator[BuildxUnderTest]:
    async with buildx_under_test(tmp_path) as under_test:
        yield under_test


def nobody(line: str) -> None:
    """Receives a build's log and discards it."""


async def built(buildx: BuildxUnderTest, dockerfile: str, recipe: Recipe | None = None) -> str:
    return await buildx.builder.build(buildx.order_of(dockerfile, recipe=recipe), nobody)


async def failure(buildx: BuildxUnderTest, dockerfile: str, recipe: Recipe | None = None) -> Fault:
    with pytest.raises(Fault) as caught:
        await built(buildx, dockerfile, recipe)
    return caught.value


def content(image: str, path: str) -> str:
    return docker("run", "--rm", "--network", "none", "--label", "stager.test", image, "cat", path)


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Of all processes of this machine, those in containers as well."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            yield int(folder.name), (folder / "cmdline").read_bytes()


def unlabelled(buildx: BuildxUnderTest, name: str, *labels: str) -> str:
    """An image as a frontend leaves it that does nothing about labels, or sets these."""
    tree = buildx.order_of(f"FROM {IMAGE}\nRUN echo {name} > /name\n").tree
    given = [word for label in ("stager.test", *labels) for word in ("--label", label)]
    docker("buildx", "build", "--load", "--tag", name, *given, str(tree))
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def running(words: str) -> list[int]:
    """The processes that have these words among their arguments."""
    return [process for process, line in command_lines() if words.encode() in line.replace(b"\0", b" ")]


async def until_running(words: str) -> None:
    async with asyncio.timeout(30):
        while not running(words):
            await asyncio.sleep(0.05)


async def until_gone(words: str) -> None:
    async with asyncio.timeout(30):
        while running(words):
            await asyncio.sleep(0.05)


class TestRecipe:
    async def test_arguments_and_target(self, buildx: BuildxUnderTest) -> None:
        dockerfile = (
            f"FROM {IMAGE} AS first\nARG GREETING=none\nRUN echo $GREETING > /greeting\n"
            f"FROM {IMAGE} AS second\nRUN false\n"
        )
        recipe = Recipe(target="first", arguments={"GREETING": "hello = 'world'"})

        assert content(await built(buildx, dockerfile, recipe), "/greeting") == "hello = 'world'"

    async def test_the_commit_where_it_is_declared(self, buildx: BuildxUnderTest) -> None:
        dockerfile = f"FROM {IMAGE} AS first\nARG STAGER_SHA\nARG SOURCE_COMMIT=none\nARG OTHER=none\n"
        dockerfile += "RUN echo $STAGER_SHA $SOURCE_COMMIT $OTHER > /commit\n"
        order = buildx.order_of(dockerfile, recipe=Recipe(arguments={"SOURCE_COMMIT": "mine"}))
        image = await buildx.builder.build(order, nobody)

        assert content(image, "/commit") == f"{order.sha} mine none"

    async def test_a_folder_and_a_dockerfile_of_another_name(self, buildx: BuildxUnderTest) -> None:
        order = buildx.order("fails")
        web = order.tree / "web"
        web.mkdir()
        (web / "page").write_text("welcome")
        (order.tree / "preview.Dockerfile").write_text(f"FROM {IMAGE}\nCOPY page /page\n")
        recipe = Recipe(context="web", dockerfile="../preview.Dockerfile")

        image = await buildx.builder.build(replace(order, recipe=recipe), nobody)

        assert content(image, "/page") == "welcome"

    async def test_the_image_is_labelled_and_named(self, buildx: BuildxUnderTest) -> None:
        order = replace(buildx.order("silent"), app="My Shop!")
        image = await buildx.builder.build(order, nobody)

        labels = docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)
        assert f'"stager.build":"{order.key}"' in labels
        assert f'"stager.sha":"{order.sha}"' in labels
        assert '"stager.app":"My Shop!"' in labels
        assert docker_knows(f"stager/{buildx.installation}-my-shop:{order.key}")

    async def test_a_dockerfile_sets_none_of_stagers_labels(self, buildx: BuildxUnderTest) -> None:
        image = await built(buildx, f"FROM {IMAGE}\nLABEL stager.health-path=/mine\n")
        assert (await buildx.builder.facts(image)).health_path == ""

    async def test_a_generated_dockerfile_has_the_frameworks_health_path(
        self, buildx: BuildxUnderTest
    ) -> None:
        order = buildx.order_of("", recipe=Recipe(auto=True))
        (order.tree / "Dockerfile").unlink()
        (order.tree / "Gemfile").write_text('gem "rails"\n')
        (order.tree / "config").mkdir()
        (order.tree / "config" / "application.rb").touch()
        (order.tree / "config" / "routes.rb").write_text('get "up" => "rails/health#show"\n')
        assert isinstance(buildx.builder, BuildxBuilder)
        assert (await buildx.builder.labels(order))["stager.health-path"] == "/up"

    async def test_names_that_arent_any_are_refused(self, buildx: BuildxUnderTest) -> None:
        for recipe in (Recipe(arguments={"A=B": "c"}), Recipe(secrets={"a,src=/etc/shadow": "c"})):
            assert (await failure(buildx, f"FROM {IMAGE}\n", recipe)).reason == "build-refused"


class TestContent:
    async def test_is_the_same_for_commits_with_the_same_files(self, buildx: BuildxUnderTest) -> None:
        dockerfile = f'FROM {IMAGE}\nCMD ["one"]\n'
        orders = [replace(buildx.order_of(dockerfile), sha=sha * 40) for sha in "ab"]
        images = [await buildx.builder.build(order, nobody) for order in orders]
        images.append(await built(buildx, dockerfile.replace("one", "two")))
        assert len(set(images)) == 3
        first, second, other = [(await buildx.builder.facts(image)).content for image in images]
        assert first == second != other


class TestPorts:
    """What Docker keeps of `EXPOSE` is a set."""

    async def test_the_first_of_its_own_lines(self, buildx: BuildxUnderTest) -> None:
        dockerfile = (
            f"FROM {IMAGE}\nARG PORT=1025\nENV WEB=8080\nEXPOSE 53/udp\nEXPOSE $WEB\nEXPOSE $PORT 25\n"
        )
        image = await built(buildx, dockerfile, Recipe(arguments={"PORT": "1026"}))

        assert await buildx.builder.facts(image) == ImageFacts((25, 1026, 8080), 8080, ("53/udp",))

    async def test_of_the_target(self, buildx: BuildxUnderTest) -> None:
        dockerfile = f"FROM {IMAGE} AS web\nEXPOSE 9000 80\nFROM web\nEXPOSE 70\n"

        assert (
            await buildx.builder.facts(await built(buildx, dockerfile, Recipe(target="web")))
        ).first == 9000
        assert (await buildx.builder.facts(await built(buildx, dockerfile))).first == 70

    async def test_a_base_image_s_has_no_order(self, buildx: BuildxUnderTest) -> None:
        base = buildx.order_of(f"FROM {IMAGE}\nENV PORT=9000\nEXPOSE $PORT 80\n")
        await buildx.builder.build(base, nobody)
        name = f"stager/{buildx.installation}-shop:{base.key}"

        assert await buildx.builder.facts(await built(buildx, f"FROM {name}\n")) == ImageFacts((80, 9000))
        facts = await buildx.builder.facts(await built(buildx, f"FROM {name}\nEXPOSE $PORT\n"))
        assert facts == ImageFacts((80, 9000), 9000)


class TestSecrets:
    DOCKERFILE = f"FROM {IMAGE}\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length\n"

    async def test_reach_the_step_and_no_layer(self, buildx: BuildxUnderTest) -> None:
        image = await built(buildx, self.DOCKERFILE, Recipe(secrets={"token": SECRET}))

        assert content(image, "/length") == str(len(SECRET))
        assert SECRET not in docker("history", "--no-trunc", image)
        assert SECRET not in docker("image", "inspect", image)
        assert not is_saved(SECRET, image)

    async def test_would_be_found_in_a_layer(self, buildx: BuildxUnderTest) -> None:
        """That is, the test above can fail."""
        leaking = f"FROM {IMAGE}\nRUN --mount=type=secret,id=token cat /run/secrets/token > /leak\n"

        assert is_saved(SECRET, await built(buildx, leaking, Recipe(secrets={"token": SECRET})))

    async def test_are_in_no_process_s_arguments(self, buildx: BuildxUnderTest) -> None:
        order = buildx.order_of(
            f"FROM {IMAGE}\nRUN --mount=type=secret,id=token sleep 3641\n",
            recipe=Recipe(secrets={"token": SECRET}),
        )
        task = asyncio.create_task(buildx.builder.build(order, nobody))
        await until_running("sleep 3641")
        seen = [line for _, line in command_lines()]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert any(order.key.encode() in line and b"--secret" in line for line in seen)
        assert not any(SECRET.encode() in line for line in seen)

    async def test_are_passed_to_no_other_plugin(
        self, buildx: BuildxUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`docker` runs all of them, to ask what they are. It is asked once where buildx is."""
        seen, folder = tmp_path / "seen", tmp_path / "bin"
        folder.mkdir()
        (folder / "docker").write_text(f'#!/bin/sh\nenv >> {seen}\nexec {shutil.which("docker")} "$@"\n')
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for _ in range(2):
            await built(buildx, self.DOCKERFILE, Recipe(secrets={"token": SECRET}))

        assert seen.read_text().count("DOCKER_HOST=") == 1
        assert SECRET not in seen.read_text()

    async def test_are_masked_in_the_log(self, buildx: BuildxUnderTest) -> None:
        said: list[str] = []
        order = buildx.order_of(
            f"FROM {IMAGE}\nRUN --mount=type=secret,id=token cat /run/secrets/token; false\n",
            recipe=Recipe(secrets={"token": f"first-line\n{SECRET}\n"}),
        )
        with pytest.raises(Fault) as caught:
            await buildx.builder.build(order, said.append)

        assert any("***" in line for line in said)
        assert SECRET not in "\n".join(said)
        assert SECRET not in f"{caught.value} {caught.value.detail}"
        assert "first-line" not in caught.value.detail


def is_saved(text: str, image: str) -> bool:
    """Whether the text is in any layer of the image, or in what describes it."""
    saved = subprocess.run(["docker", "save", image], capture_output=True, check=True).stdout
    return text.encode() in saved or any(text.encode() in unpacked for unpacked in _compressed(saved))


def _compressed(saved: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        for member in archive:
            opened = archive.extractfile(member) if member.isfile() else None
            packed = opened.read() if opened else b""
            if packed.startswith(b"\x1f\x8b"):
                yield gzip.decompress(packed)


class TestCaches:
    async def test_of_strangers_are_for_strangers(self, buildx: BuildxUnderTest) -> None:
        """Or a stranger's build could lay something into the next one that has secrets."""

        async def saw(who: str, *, untrusted: bool) -> str:
            order = buildx.order("silent")
            keep = f"cat /cache/who > /saw; echo {who} > /cache/who"
            cache = f"--mount=type=cache,id={buildx.installation},target=/cache"
            (order.tree / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN {cache} {keep}\n")
            image = await buildx.builder.build(replace(order, untrusted=untrusted), nobody)
            return content(image, "/saw")

        assert await saw("mallory", untrusted=True) == ""
        assert await saw("olga", untrusted=False) == ""
        assert await saw("ann", untrusted=False) == "olga", "they can be seen"
        assert await saw("eve", untrusted=True) == "mallory"


class TestTheTree:
    async def test_a_link_in_the_context_leads_nowhere_else(
        self, buildx: BuildxUnderTest, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.write_text("the host's own")
        order = buildx.order_of(f"FROM {IMAGE}\nCOPY link /copied\n")
        (order.tree / "link").symlink_to(outside)

        with pytest.raises(Fault) as caught:
            await buildx.builder.build(order, nobody)
        assert caught.value.reason == "build-failed"
        assert "the host's own" not in f"{caught.value} {caught.value.detail}"

    async def test_nor_does_a_dockerignore_file(self, buildx: BuildxUnderTest, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_text("page\n")
        order = buildx.order_of(f"FROM {IMAGE}\nCOPY page /page\n")
        (order.tree / "page").write_text("welcome")
        (order.tree / ".dockerignore").symlink_to(outside)

        assert content(await buildx.builder.build(order, nobody), "/page") == "welcome"

    async def test_without_a_dockerfile(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE}\n", Recipe(dockerfile="Dockerfile.preview"))

        assert fault.reason == "dockerfile-missing"
        assert '"Dockerfile.preview"' in fault.message
        assert "Found: Dockerfile." in fault.hint


class TestFailure:
    async def test_names_stage_step_and_cause(self, buildx: BuildxUnderTest) -> None:
        dockerfile = (
            f"FROM {IMAGE} AS build\nRUN true\nRUN npm ci\nFROM {IMAGE}\nCOPY --from=build /etc/passwd /p\n"
        )
        fault = await failure(buildx, dockerfile)

        assert fault.message == "Building failed at step 3/3 of stage build: RUN npm ci (exit code 127)."
        assert "`npm` isn't in the image" in fault.hint
        assert "npm: not found" in fault.detail

    async def test_shows_the_last_lines_alone(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE}\nRUN seq 1 500; exit 3\n")

        lines = fault.detail.splitlines()
        assert len(lines) == 30
        assert any(line.endswith(" 500") for line in lines)

    async def test_a_file_that_isnt_in_the_context(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE}\nCOPY package.json /\n")

        assert fault.message == (
            'Building failed at step 2/2: COPY package.json / ("/package.json" not found).'
        )
        assert ".dockerignore" in fault.hint

    async def test_a_file_that_isnt_in_another_stage(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE} AS build\nFROM {IMAGE}\nCOPY --from=build /dist /dist\n")

        assert "COPY --from=build /dist /dist" in fault.message
        assert "/var/lib" not in fault.message
        assert "stage" in fault.hint

    async def test_a_base_image_that_isnt_to_be_had(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, "FROM 127.0.0.1:1/acme/none:1\n")

        assert fault.message == (
            'Building failed: the base image "127.0.0.1:1/acme/none:1" is missing and can\'t be fetched.'
        )
        assert "docker pull" in fault.hint

    async def test_a_syntax_line_that_isnt_to_be_had(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"# syntax=127.0.0.1:1/docker/dockerfile:1\nFROM {IMAGE}\n")

        assert "`# syntax=` image" in fault.message
        assert "127.0.0.1:1/docker/dockerfile:1" in fault.message
        assert "Remove" in fault.hint

    async def test_a_word_that_isnt_an_instruction(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE}\nRUNN true\n")

        assert fault.message == "Building failed: dockerfile parse error line 2: unknown instruction: RUNN."

    async def test_a_stage_that_isnt_there(self, buildx: BuildxUnderTest) -> None:
        fault = await failure(buildx, f"FROM {IMAGE}\n", Recipe(target="assets"))

        assert "assets" in fault.message
        assert "`FROM ... AS assets`" in fault.hint


class TestEnding:
    async def test_cancelling_leaves_nothing_running(self, buildx: BuildxUnderTest) -> None:
        order = buildx.order_of(f"FROM {IMAGE}\nRUN sleep 3642\n")
        task = asyncio.create_task(buildx.builder.build(order, nobody))
        await until_running("sleep 3642")
        assert running(order.key)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert not running(order.key)
        await until_gone("sleep 3642")

    async def test_nor_does_giving_up(self, buildx: BuildxUnderTest) -> None:
        order = buildx.order_of(f"FROM {IMAGE}\nRUN sleep 3643\n", timeout=5)
        with pytest.raises(Fault) as caught:
            await buildx.builder.build(order, nobody)

        assert caught.value.message == (
            "The build exceeded its time limit of 5 seconds, at step 2/2: RUN sleep 3643."
        )
        assert not running(order.key)
        await until_gone("sleep 3643")

    async def test_its_folder_for_metadata_is_removed(
        self, buildx: BuildxUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        await built(buildx, f"FROM {IMAGE}\n")

        assert list(temporary.iterdir()) == []


class TestTheMachine:
    async def test_too_little_room(self, buildx: BuildxUnderTest) -> None:
        builder = BuildxBuilder(buildx.docker, ENGINE, buildx.installation, disk_floor=1 << 60)
        with pytest.raises(Fault) as caught:
            await builder.build(buildx.order("serves"), nobody)

        assert caught.value.reason == "disk-full"
        assert "1152921504.6 GB" in caught.value.message

    async def test_what_is_free(self, buildx: BuildxUnderTest) -> None:
        builder = BuildxBuilder(buildx.docker, ENGINE, buildx.installation)
        root = docker("info", "--format", "{{.DockerRootDir}}")
        free = await builder.free_bytes()

        assert free is not None
        assert 0 < free <= os.statvfs(root).f_blocks * os.statvfs(root).f_frsize

    async def test_cannot_use_another_machine(self, buildx: BuildxUnderTest) -> None:
        elsewhere = BuildxBuilder(buildx.docker, "tcp://127.0.0.1:1", buildx.installation)

        assert await elsewhere.free_bytes() is None

    async def test_without_a_docker_command(
        self, buildx: BuildxUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Fault) as caught:
            await buildx.builder.build(buildx.order("serves"), nobody)

        assert caught.value.reason == "builder-missing"

    @pytest.mark.parametrize(
        ("says", "message"),
        [
            ("docker: 'buildx' is not a docker command.", "`docker buildx` isn't installed"),
            ("ERROR: invalid progress mode rawjson", "too old"),
        ],
    )
    async def test_with_a_docker_command_that_cannot_build(
        self,
        buildx: BuildxUnderTest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        says: str,
        message: str,
    ) -> None:
        old = tmp_path / "docker"
        old.write_text(f'#!/bin/sh\necho "{says}" >&2\nexit 1\n')
        old.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(Fault) as caught:
            await buildx.builder.build(buildx.order("serves"), nobody)

        assert caught.value.reason == "builder-missing"
        assert message in caught.value.message
        assert "docker-buildx" in caught.value.hint

    async def test_docker_stops_in_the_middle(self, buildx: BuildxUnderTest, tmp_path: Path) -> None:
        async with relay(tmp_path / "relay.sock") as cut:
            engine = f"unix://{tmp_path}/relay.sock"
            builder = BuildxBuilder(buildx.docker, engine, buildx.installation)
            order = buildx.order_of(f"FROM {IMAGE}\nRUN sleep 3644\n")
            task = asyncio.create_task(builder.build(order, nobody))
            await until_running("sleep 3644")
            cut.set()

            with pytest.raises(Retry) as caught:
                await task
        assert caught.value.reason == "engine-away"
        await until_gone("sleep 3644")

    async def test_a_cgroup_is_named_to_buildkit(self, buildx: BuildxUnderTest) -> None:
        """Old releases of Docker don't heed it, and the log says so."""
        said: list[str] = []
        builder = BuildxBuilder(buildx.docker, ENGINE, buildx.installation, cgroup_parent="/docker")
        await builder.build(buildx.order("serves"), said.append)

        version = docker("version", "--format", "{{.Server.Version}}")
        assert any("ignores" in line for line in said) is (int(version.split(".")[0]) < 23)


@asynccontextmanager
async def relay(path: Path) -> AsyncIterator[asyncio.Event]:
    """A socket that leads to Docker's, until the event is set."""
    cut = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
            writer.write_eof()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection("/var/run/docker.sock")
        writers.extend([writer, back])
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def cutting() -> None:
        await cut.wait()
        server.close()
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_unix_server(serve, path)
    cutter = asyncio.create_task(cutting())
    try:
        yield cut
    finally:
        cut.set()
        await cutter


class TestImages:
    async def test_what_is_made_of_ours_isnt_ours(self, buildx: BuildxUnderTest) -> None:
        """Such an image hands on the labels of the one that it was made from."""
        order = buildx.order("serves")
        ours = await buildx.builder.build(order, nobody)
        committed, child = (f"stager-test/{name}-{order.key}:1" for name in ("committed", "child"))
        container = docker("create", "--label", "stager.test", ours)
        nameless = docker("commit", container)
        docker("commit", container, committed)
        docker("rm", container)
        base = f"stager/{buildx.installation}-shop:{order.key}"
        of_ours = buildx.order_of(f"FROM {base}\nRUN true\n").tree
        docker("buildx", "build", "--load", "--tag", child, str(of_ours))
        try:
            assert await buildx.builder.find(order.app, order.key) == ours
            assert await buildx.builder.sweep([]) == 0  # Docker keeps what others are made of
            assert all(map(docker_knows, (committed, child, nameless)))
        finally:
            docker("rmi", committed, child, nameless)
        assert await buildx.builder.sweep([]) == 1

    async def test_one_that_a_newer_one_replaced_is_removed(self, buildx: BuildxUnderTest) -> None:
        old = await buildx.builder.build(buildx.order("serves", key="same"), nobody)
        new = await buildx.builder.build(buildx.order("silent", key="same"), nobody)

        assert await buildx.builder.sweep([new]) == 1
        assert not docker_knows(old)

    async def test_one_whose_frontend_set_no_labels(self, buildx: BuildxUnderTest) -> None:
        """A `# syntax=` line chooses who makes the image; what it leaves is the name, which we gave."""
        name = f"stager/{buildx.installation}-shop:key1"
        image = unlabelled(buildx, name)
        assert await buildx.builder.find("shop", "key1") == image
        assert await buildx.builder.sweep([image]) == 0
        assert docker_knows(image)

        assert await buildx.builder.sweep([]) == 1
        assert not docker_knows(image)

    @pytest.mark.parametrize("label", ["stager.build=other", "stager.installation=another", "stager.app=x"])
    async def test_one_whose_frontend_set_wrong_labels(self, buildx: BuildxUnderTest, label: str) -> None:
        image = unlabelled(buildx, f"stager/{buildx.installation}-shop:key1", label)
        assert await buildx.builder.find("shop", "key1") == image

        assert await buildx.builder.sweep([]) == 1
        assert not docker_knows(image)

    async def test_one_that_two_orders_have_in_common(self, buildx: BuildxUnderTest) -> None:
        """Without labels, two commits may come to the same image."""
        names = [f"stager/{buildx.installation}-{app}" for app in ("shop:key1", "shop:key2", "blog:key3")]
        image = unlabelled(buildx, names[0])
        for name in names[1:]:
            docker("tag", image, name)
        assert await buildx.builder.find("shop", "key2") == image

        assert await buildx.builder.sweep([]) == 1
        assert not docker_knows(image)

    async def test_one_without_labels_that_a_container_uses_stays(self, buildx: BuildxUnderTest) -> None:
        image = unlabelled(buildx, f"stager/{buildx.installation}-shop:key1")
        await buildx.use(image)

        assert await buildx.builder.sweep([]) == 0
        assert docker_knows(image)

    @pytest.mark.parametrize(
        "name",
        [
            "stager/{0}b-shop:key1",  # another installation's
            "stager/b{0}-shop:key1",
            "stager/{0}:key1",
            "stager/shop:{0}",
            "stager-test/{0}-shop:key1",
            "127.0.0.1:5000/stager/{0}-shop:key1",
        ],
    )
    async def test_a_name_that_only_looks_like_ours_stays(self, buildx: BuildxUnderTest, name: str) -> None:
        reference = name.format(buildx.installation)
        image = unlabelled(buildx, reference)
        try:
            assert await buildx.builder.sweep([]) == 0
            assert docker_knows(reference)
        finally:
            docker("rmi", image)

    async def test_people_s_image_that_a_frontend_made_again_stays(self, buildx: BuildxUnderTest) -> None:
        """What a frontend makes may be, bit for bit, an image that is here already."""
        theirs = f"stager-test/theirs-{buildx.installation}:1"
        image = unlabelled(buildx, theirs)
        docker("tag", image, f"stager/{buildx.installation}-shop:key1")
        try:
            assert await buildx.builder.sweep([]) == 0
            assert docker_knows(theirs)
        finally:
            docker("rmi", "--force", image)

    async def test_one_with_a_name_of_its_own_stays(self, buildx: BuildxUnderTest) -> None:
        image = await built(buildx, f"FROM {IMAGE}\nRUN true\n")
        docker("tag", image, "stager-test/kept:1")
        try:
            assert await buildx.builder.sweep([]) == 0
        finally:
            docker("rmi", "stager-test/kept:1")

    async def test_the_cache_stays_below_its_limit(self, buildx: BuildxUnderTest) -> None:
        def of(limit: int | None) -> BuildxBuilder:
            return BuildxBuilder(buildx.docker, ENGINE, buildx.installation, cache_limit=limit)

        assert await of(None).prune_cache() == 0
        assert await of(1 << 50).prune_cache() == 0


async def test_docker_is_away(tmp_path: Path) -> None:
    away = connect(f"unix://{tmp_path}/docker.sock")
    builder = BuildxBuilder(away, f"unix://{tmp_path}/docker.sock", "test-away")
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\n")
    order = BuildOrder("key1", "shop", "c0ffee", tmp_path, Recipe(), 60)
    try:
        for call in (
            builder.find("shop", "key1"),
            builder.facts("x"),
            builder.sweep([]),
            builder.build(order, nobody),
        ):
            with pytest.raises(Retry):
                await call
    finally:
        await away.close()
