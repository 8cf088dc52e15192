"""Finding a configuration, filling it in, and what comes out."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from stager.domain.errors import Refused
from stager.domain.profile import Limits
from stager.ports.handlers import PreKillHandler, Preview
from stager.ports.plugins import Plugin, PluginRegistry
from stager.settings.loading.loader import find, load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.plugins.available import Known, built_in
from stager.settings.values.network import Address, PortRange
from tests.unit.settings.conftest import LoadText, ProblemsOf

MIB = 1 << 20


class SayGoodbye(PreKillHandler):
    """A stranger's."""

    short_name = "bye"

    def killing(self, preview: Preview) -> None: ...


class TestFind:
    def test_the_option_comes_before_the_variable_and_the_directory(self, tmp_path: Path) -> None:
        (tmp_path / "config.yml").touch()
        environ = {"STAGER_CONFIG": "/etc/stager.yml"}

        assert find(Path("mine.yml"), environ, tmp_path) == tmp_path / "mine.yml"
        assert find(None, environ, tmp_path) == Path("/etc/stager.yml")
        assert find(None, {"STAGER_CONFIG": ""}, tmp_path) == tmp_path / "config.yml"

    def test_there_may_be_none(self, tmp_path: Path) -> None:
        assert find(None, {}, tmp_path) is None

    def test_a_named_file_that_is_missing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"gone\.yml: 1 problem\n  can't be read: No such file"):
            load(tmp_path / "gone.yml", environ={})

    def test_a_file_in_another_encoding_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "config.yml"
        path.write_bytes("domain: bücher.example".encode("latin-1"))
        with pytest.raises(ConfigurationError, match="isn't text in UTF-8"):
            load(path, environ={})


@pytest.mark.requirement("R23")
def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(None, environ={})
    settings = loaded.settings

    assert loaded.path is None
    assert (settings.domain, settings.previews, settings.scheme) == ("", "", "http")
    assert settings.listen == Address("127.0.0.1", 8000)
    assert settings.state_dir == tmp_path / ".stager"
    assert settings.images == {}
    assert settings.routing_strategy == "EmbeddedRoutingStrategy"
    assert settings.authentication_strategy == ()
    assert settings.trusted_proxies == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.network.pool == ip_network("10.200.0.0/14")
    assert settings.engine.socket == "unix:///var/run/docker.sock"
    assert (settings.resync_interval, settings.reconcile_interval, settings.retention) == (
        300,
        60,
        30 * 86_400,
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "images:\ngithub:\n", "\ufeffdomain: ''\n"])
def test_an_empty_configuration_is_none(load_text: LoadText, text: str) -> None:
    assert load_text(text).settings.images == {}


def test_a_configuration_error_is_a_refusal_that_lists_its_problems(load_text: LoadText) -> None:
    with pytest.raises(Refused) as caught:
        load_text("a: 1\nscheme: ftp\n")
    assert str(caught.value) == (
        "config.yml: 2 problems\n  line 1: a: unknown key\n"
        '  line 2: scheme: should be "http" or "https", not "ftp"'
    )


class TestApp:
    def test_its_own_limits_come_before_the_defaults_and_those_before_the_built_in(
        self, load_text: LoadText
    ) -> None:
        settings = load_text(
            "defaults: {memory: 1g, cpus: 2}\n"
            "images: {shop: {port: 80, cpus: 1, start_timeout: 2m}, cart: {port: 81}}\n"
        ).settings
        shop, cart = settings.images["shop"], settings.images["cart"]

        # That `cpus` equals the built-in default doesn't make it less given.
        assert shop.limits == Limits(memory=1024 * MIB, cpus=1.0, pids=256, log_size=10 * MIB)
        assert cart.limits == Limits(memory=1024 * MIB, cpus=2.0, pids=256, log_size=10 * MIB)
        assert (shop.start_timeout, cart.start_timeout) == (120, 300)
        assert (shop.stop_grace_period, shop.drain_timeout) == (10, 30)

    @pytest.mark.parametrize(
        ("given", "image"),
        [
            ("", "shop"),
            ("image: store:2", "store:2"),
            ("image_name: localhost:5000/a/b", "localhost:5000/a/b"),
        ],
    )
    def test_its_image_is_named_like_the_entry_by_default(
        self, load_text: LoadText, given: str, image: str
    ) -> None:
        settings = load_text(f"images: {{shop: {{port: 80, {given}}}}}").settings
        assert settings.images["shop"].image == image

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("", ()),
            ("command: ''", ()),
            ("command: sh -c 'a b'", ("sh", "-c", "a b")),
            ("command: [sh, -c, a b]", ("sh", "-c", "a b")),
        ],
    )
    def test_its_command_is_split_as_a_shell_would(
        self, load_text: LoadText, given: str, words: tuple[str, ...]
    ) -> None:
        settings = load_text(f"images: {{shop: {{port: 80, {given}}}}}").settings
        assert settings.images["shop"].command == words

    def test_its_variables_are_text_as_written(self, load_text: LoadText) -> None:
        app = load_text(
            "images: {shop: {port: 80, env: {A: 1, B: true, C: 1.10, D: no, E: '', F: x}}}"
        ).settings.images["shop"]

        assert {name: value.reveal() for name, value in app.env.items()} == {
            "A": "1",
            "B": "true",
            "C": "1.10",
            "D": "no",
            "E": "",
            "F": "x",
        }

    def test_its_health_path_is_known_not_to_be_given(self, load_text: LoadText) -> None:
        images = load_text("images: {a: {port: 80}, b: {port: 80, health_path: /}}").settings.images
        assert (images["a"].health_path, images["b"].health_path) == (None, "/")


class TestFilledIn:
    def test_variables_stand_for_any_value_or_part_of_one(self, load_text: LoadText) -> None:
        settings = load_text(
            "domain: ${NAME}.example.org\n"
            "images: {shop: {port: '${PORT}', command: [echo, '$${NAME}', $NAME, '${NO:-d}${E:-e}']}}\n"
            "access_log: ${LOG}\n"
            "reconcile_interval: ${EVERY}\n"
            "event_listeners: ['${LISTENER}']\n",
            NAME="demo",
            PORT="3000",
            LOG="false",
            EVERY="2m",
            E="",
            LISTENER="KillOnGithubPullRequestClosed",
        ).settings

        assert settings.domain == "demo.example.org"
        assert settings.images["shop"].port == 3000
        assert settings.images["shop"].command == ("echo", "${NAME}", "$NAME", "de")
        assert settings.access_log is False
        assert settings.reconcile_interval == 120
        assert settings.event_listeners == ("KillOnGithubPullRequestClosed",)

    def test_what_a_variable_holds_is_taken_as_it_is(self, load_text: LoadText) -> None:
        users = load_text("users: ['joe:${A}', 'ann:${B}']", A="${B}", B="file:/x").settings.users
        assert [user.password.reveal() for user in users] == ["${B}", "file:/x"]

    def test_a_file_stands_for_a_whole_value(self, load_text: LoadText, tmp_path: Path) -> None:
        (tmp_path / "hook").write_text("s3cret \n", "utf-8")
        (tmp_path / "port").write_text("81\r\n", "utf-8")
        settings = load_text(
            f"images: {{shop: {{port: 'file:{tmp_path}/port'}}}}\n"
            "github: {incoming_auth: {hook_secret: 'file:${NAME}'}}\n",
            NAME="hook",
        ).settings

        assert settings.github.incoming_auth.hook_secret.reveal() == "s3cret "
        assert settings.images["shop"].port == 81

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "domain: ${NO}",
                "domain: the environment variable NO isn't set; set it, or allow it with ${NO:-}",
            ),
            (
                "users: ['a:${NO}']",
                "users[0]: the environment variable NO isn't set; set it, or allow it with ${NO:-}",
            ),
            ("domain: file:gone", "domain: gone can't be read: No such file or directory"),
            ("domain: 'file:'", "domain:  can't be read: Is a directory"),
            (
                "domain: ${a-b}",
                "domain: has a ${ that isn't ${NAME} or ${NAME:-default}; write $${ for a literal ${",
            ),
        ],
    )
    def test_what_can_not_be_filled_in_is_reported(
        self, problems_of: ProblemsOf, text: str, problem: str
    ) -> None:
        assert problems_of(text) == [problem]


class TestPlaces:
    def test_paths_start_from_the_file_s_folder(self, load_text: LoadText, tmp_path: Path) -> None:
        settings = load_text(
            "state_dir: state\ntls: {listen: '[::]:443', certificate: a.pem, key: /b.pem}\n"
        ).settings
        assert settings.state_dir == tmp_path / "state"
        assert settings.tls is not None
        assert (settings.tls.certificate, settings.tls.key) == (tmp_path / "a.pem", Path("/b.pem"))
        assert (settings.tls.listen, str(settings.tls.listen)) == (Address("::", 443), "[::]:443")

    def test_a_state_folder_too_deep_for_sockets_is_refused(self, problems_of: ProblemsOf) -> None:
        room = 100 - len("/front/handover.sock")
        (problem,) = problems_of(f"state_dir: /{'x' * room}")
        assert problem.startswith("state_dir: is too long by 1 bytes for the sockets in it")

    def test_a_state_folder_that_just_fits_is_not(self, load_text: LoadText) -> None:
        path = "/" + "x" * (100 - len("/front/handover.sock") - 1)
        assert load_text(f"state_dir: {path}").settings.state_dir == Path(path)

    @pytest.mark.parametrize(
        ("given", "domain"),
        [
            ("demo.stager.io", "demo.stager.io"),
            ("Demo.Stager.IO.", "demo.stager.io"),
            ("localhost:8000", "localhost:8000"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ],
    )
    def test_a_domain_is_kept_as_browsers_send_it(self, load_text: LoadText, given: str, domain: str) -> None:
        settings = load_text(f"domain: {given}").settings
        assert (settings.domain, settings.previews) == (domain, domain)

    def test_previews_may_have_a_domain_of_their_own(self, load_text: LoadText) -> None:
        assert load_text("domain: a.io\npreview_domain: b.io").settings.previews == "b.io"

    @pytest.mark.parametrize(
        ("text", "host", "socket"),
        [
            ("", "", "unix:///var/run/docker.sock"),
            ("", "tcp://10.0.0.5:2375", "tcp://10.0.0.5:2375"),
            (
                "engine: {connect_via: auto}",
                "unix:///run/user/1000/docker.sock",
                "unix:///run/user/1000/docker.sock",
            ),
            ("engine: {socket: 'unix:///mine.sock'}", "tcp://10.0.0.5:2375", "unix:///mine.sock"),
        ],
    )
    def test_the_engine_s_address_may_come_from_the_environment(
        self, load_text: LoadText, text: str, host: str, socket: str
    ) -> None:
        assert load_text(text, DOCKER_HOST=host).settings.engine.socket == socket

    def test_an_engine_s_address_that_is_of_no_use_is_refused(self, problems_of: ProblemsOf) -> None:
        assert problems_of("", DOCKER_HOST="ssh://me@host") == [
            "engine: has no valid address: the environment variable DOCKER_HOST is ssh://me@host;"
            " set `socket`"
        ]


class TestNames:
    def test_short_and_single_names_become_full_lists(self, load_text: LoadText) -> None:
        settings = load_text(
            "routing_strategy: nginx\nauthentication_strategy: [basic]\n"
            "event_listeners: KillOnGithubPullRequestClosed\npost_launch_handlers: ''\n"
        ).settings

        assert settings.routing_strategy == "NginxRoutingStrategy"
        assert settings.authentication_strategy == ("BasicAuthentication",)
        assert settings.event_listeners == ("KillOnGithubPullRequestClosed",)
        assert settings.post_launch_handlers == ()

    def test_plugins_add_names(self, tmp_path: Path) -> None:
        path = tmp_path / "config.yml"
        path.write_text("pre_kill_handlers: bye", "utf-8")
        known = Known(PluginRegistry([*built_in(), Plugin(SayGoodbye, "a test")]))

        assert load(path, environ={}, known=known).settings.pre_kill_handlers == ("SayGoodbye",)

    @pytest.mark.requirement("R45", "R46")
    @pytest.mark.parametrize(
        "text",
        [
            "nginx: {target_dir: /a, template_path: b, reload_command: sudo nginx -s reload}",
            "nginx: [{target_dir: /a}, {template_path: b}, {reload_command: [sudo, nginx, -s, reload]}]",
        ],
    )
    def test_nginx_may_be_a_mapping_or_a_list(self, load_text: LoadText, tmp_path: Path, text: str) -> None:
        nginx = load_text(text).settings.nginx
        assert (nginx.target_dir, nginx.template_path) == (Path("/a"), tmp_path / "b")
        assert nginx.reload_command == ("sudo", "nginx", "-s", "reload")
        assert nginx.test_command == ("nginx", "-t")

    @pytest.mark.parametrize(
        "text",
        [
            "haproxy: {target_path: /a, template_path: b, bind: ':80'}",
            "haproxy: [{target_path: /a}, {template_path: b}, {bind: ':80'}]",
        ],
    )
    def test_haproxy_has_the_first_stagers_keys(self, load_text: LoadText, tmp_path: Path, text: str) -> None:
        settings = load_text(f"routing_strategy: HaproxyRoutingStrategy\n{text}").settings
        assert settings.routing_strategy == "HaproxyRoutingStrategy"
        haproxy = settings.haproxy
        assert (haproxy.target_path, haproxy.template_path) == (Path("/a"), tmp_path / "b")
        assert haproxy.bind == ":80"
        assert haproxy.test_command == ("haproxy", "-c", "-f")

    def test_no_folder_for_nginx_is_none(self, load_text: LoadText) -> None:
        assert load_text("nginx: {target_dir: '${DIR:-}'}").settings.nginx.target_dir is None


@pytest.mark.parametrize(
    ("text", "environ", "first", "last"),
    [
        ("", {}, 3200, 3500),
        ("ingress_ports: 4000-4009", {}, 4000, 4009),
        ("ingress_ports: 4000 - 4000", {}, 4000, 4000),
        ("", {"MIN_PORT": "3300"}, 3300, 3500),
        ("", {"MAX_PORT": "3300"}, 3200, 3300),
        ("ingress_ports: 4000-4009", {"MIN_PORT": "5000", "MAX_PORT": "5001"}, 5000, 5001),
        ("ingress_ports: 4000-4009", {"MIN_PORT": ""}, 4000, 4009),
    ],
)
def test_ports(load_text: LoadText, text: str, environ: dict[str, str], first: int, last: int) -> None:
    assert load_text(f"max_previews: 3\n{text}", **environ).settings.ingress_ports == PortRange(first, last)


@pytest.mark.requirement("R48")
def test_a_password_may_contain_colons(load_text: LoadText) -> None:
    (user,) = load_text("users: ['joe:a:b:c']").settings.users
    assert (user.name, user.password.reveal()) == ("joe", "a:b:c")


class TestMaxPreviews:
    @pytest.mark.parametrize(
        ("text", "environ", "count"),
        [
            ("", {}, None),
            ("max_previews: 7", {}, 7),
            ("", {"MIN_PORT": "3200", "MAX_PORT": "3204"}, 5),
            ("", {"MAX_PORT": "3204"}, 5),
            ("max_previews: 7", {"MAX_PORT": "3204"}, 7),
        ],
    )
    def test_the_first_stagers_variables_count_previews(
        self, load_text: LoadText, text: str, environ: dict[str, str], count: int | None
    ) -> None:
        assert load_text(text, **environ).settings.max_previews == count

    def test_variables_that_are_no_range_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="MIN_PORT and MAX_PORT"):
            load(None, environ={"MIN_PORT": "3500", "MAX_PORT": "3200"})


class TestStartParameters:
    def test_they_go_over_those_of_the_create_call(self, load_text: LoadText) -> None:
        text = """
        images:
          shop:
            port: 80
            container_create_params: {Tty: true, HostConfig: {ShmSize: 1, CpuShares: 2}}
            container_start_params: {CpuShares: 3}
        """
        assert load_text(text).settings.images["shop"].parameters == {
            "Tty": True,
            "HostConfig": {"ShmSize": 1, "CpuShares": 3},
        }

    def test_what_opens_the_box_may_be_allowed_by_name(self, load_text: LoadText) -> None:
        app = "{port: 80, allow_create_params: [Binds], container_start_params: {Binds: [a:b]}}"
        parameters = load_text(f"images: {{shop: {app}}}").settings.images["shop"].parameters
        assert parameters == {"HostConfig": {"Binds": ["a:b"]}}
