"""The errors for configurations that can't be used."""

from __future__ import annotations

import pytest

from tests.unit.settings.conftest import ProblemsOf

ACME = "domain: a.io\ntls: {acme: {email: a@a.io, dns: {%s}}}"
APP = "images: {shop: {port: 80, %s}}"
DOMAIN = 'domain: should be a domain such as "demo.stager.io" or "localhost:8000", not '
LISTEN = 'listen: should be host:port such as "127.0.0.1:8000", "0.0.0.0:80" or "[::1]:8000", not '
TEMPLATE = 'host_template: should contain {slug} and end with ".{domain}", not '
WRONG = [
    # shapes
    ("- images", "should be a mapping, not a list"),
    ("images: [shop]", "images: should be a mapping, not a list"),
    ("images: {shop: [80]}", "images.shop: should be a mapping, not a list"),
    ("users: 'joe:secret'", "users: should be a list, not text"),
    ("github: {incoming_auth: 'joe:secret'}", "github.incoming_auth: should be a mapping, not text"),
    ("event_listeners: {a: b}", "event_listeners: should be a list, not a mapping"),
    # keys
    ("imagse: {}", 'imagse: unknown key; did you mean "images"?'),
    ("'a b': 1", '"a b": unknown key'),
    (
        "github: {incoming_auth: {hook_secert: x}}",
        'github.incoming_auth.hook_secert: unknown key; did you mean "hook_secret"?',
    ),
    (
        "tls: {listn: x, listen: 'a:1', certificate: c, key: k}",
        'tls.listn: unknown key; did you mean "listen"?',
    ),
    ("domain: a.io\ntls: {listen: 'a:1', certificate: c}", "tls.key: is required, unless `acme` is given"),
    (
        "domain: a.io\ntls: {acme: {email: a@a.io}, certificate: c, key: k}",
        "tls.certificate: can't be given with `acme`, which orders certificates",
    ),
    ("tls: {acme: {email: a@a.io}}", "tls.acme: requires `domain`, for which certificates are ordered"),
    (
        "domain: a.io\ntls: {acme: {email: admin}}",
        'tls.acme.email: should be an address such as "admin@example.org"',
    ),
    (
        ACME % "",
        "tls.acme.dns.hook: or `rfc2136` is required, and not both",
    ),
    (
        ACME % "rfc2136: {server: 'a:53', key_name: k, secret: .}",
        "tls.acme.dns.rfc2136.secret: should be the key in base64",
    ),
    ("memory: 1g", "memory: belongs under `defaults`, or under one of the `images`"),
    ('haproxy: {bind: "*:80\\n  user root"}', 'haproxy.bind: should be an address such as "*:8080"'),
    ("haproxy: {template_path: a}", "haproxy.target_path: is required, because `template_path` is given"),
    ("haproxy: [{bind: a}, {bind: b}]", "haproxy.bind: is given twice"),
    (APP % "prot: 1", 'images.shop.prot: unknown key; did you mean "port"?'),
    (APP % "RAILS_ENV: test", "images.shop.RAILS_ENV: unknown key; an environment variable goes under `env`"),
    (
        APP % "container_start_params: {Privileged: true}",
        "images.shop.container_start_params.Privileged: weakens the container's isolation; to permit it, add",
    ),
    (
        APP % "container_start_params: {networkmode: host}",
        "images.shop.container_start_params.networkmode: can't be given; Stager sets it itself",
    ),
    # numbers, truth, choices
    ("images: {shop: {}}", "images.shop.port: is required"),
    ("images: {shop: }", "images.shop.port: is required"),
    ("images: {shop: {port: 80x}}", 'images.shop.port: should be an integer such as 3000, not "80x"'),
    ("images: {shop: {port: 80.5}}", "images.shop.port: should be an integer such as 3000, not 80.5"),
    ("images: {shop: {port: true}}", "images.shop.port: should be a number, not true"),
    ("images: {shop: {port: 0}}", "images.shop.port: should be 1 at least, not 0"),
    ("images: {shop: {port: 65536}}", "images.shop.port: should be 65535 at most, not 65536"),
    ("access_log: perhaps", 'access_log: should be true or false, not "perhaps"'),
    ("scheme: ftp", 'scheme: should be "http" or "https", not "ftp"'),
    (
        "engine: {connect_via: far}",
        'engine.connect_via: should be "auto", "address" or "loopback", not "far"',
    ),
    ("defaults: {cpus: 0}", "defaults.cpus: should be 0.01 at least, not 0"),
    ("defaults: {cpus: inf}", 'defaults.cpus: should be a finite number, not "inf"'),
    ("defaults: {pids: many}", 'defaults.pids: should be an integer, not "many"'),
    # durations and sizes
    (
        "reconcile_interval: soon",
        'reconcile_interval: should be a duration such as "90s", "5m" or "30d", not "soon"',
    ),
    ("reconcile_interval: 0", "reconcile_interval: should be more than 0, not 0"),
    ("reconcile_interval: -1", 'reconcile_interval: should be a duration such as "90s", "5m" or "30d"'),
    ("retention: 99999999d", 'retention: should be a duration such as "90s", "5m" or "30d"'),
    (
        APP % "start_timeout: 5 minutes",
        'images.shop.start_timeout: should be a duration such as "90s", "5m" or "30d"',
    ),
    (APP % "memory: lots", 'images.shop.memory: should be a size such as "512m" or "2g", not "lots"'),
    (APP % "memory: 5m", 'images.shop.memory: should be "6m" at least, which is Docker\'s minimum'),
    (APP % "log_size: 0", "images.shop.log_size: should be more than 0, not 0"),
    # names and places
    (
        "domain: http://demo.stager.io",
        'domain: should be a name such as "demo.stager.io", without scheme and path',
    ),
    ("domain: 127.0.0.1:8000", "domain: should be a domain name; an IP address has no subdomains"),
    ("domain: '[::1]:8000'", DOMAIN),
    ("domain: 2001:db8::1", "domain: should be a domain name; an IP address has no subdomains"),
    ("domain: demo.stager.io:99999", DOMAIN),
    ("domain: 'demo..io'", DOMAIN),
    ("domain: -demo.io", DOMAIN),
    ("domain: bücher.example", DOMAIN),
    ("domain: 300.1", DOMAIN),
    (
        f"domain: {'abcdefghi.' * 20}io",
        "domain: should have at most 189 characters; the previews' names are added",
    ),
    ("listen: 8000", LISTEN),
    ("listen: '::1:8000'", LISTEN),
    ("listen: '[1]:8000'", LISTEN),
    ("listen: localhost:70000", LISTEN),
    ("trusted_proxies: [10.0.0.1/8]", 'trusted_proxies[0]: should be a network such as "10.0.0.0/8"'),
    ("trusted_proxies: 10.0.0.0/8", "trusted_proxies: should be a list, not text"),
    ("network: {pool: 'fd00::/8'}", 'network.pool: should be an IPv4 network such as "10.200.0.0/14"'),
    (
        "network: {pool: 10.0.0.0/29, prefix_length: 28}",
        "network.prefix_length: should be 29 at least, to fit into the pool 10.0.0.0/29",
    ),
    ("network: {prefix_length: 30}", "network.prefix_length: should be 29 at most, not 30"),
    (
        "engine: {socket: ssh://host}",
        'engine.socket: should be an address such as "unix:///var/run/docker.sock"',
    ),
    (
        "github: {api_url: api.github.com}",
        'github.api_url: should be an address such as "https://github.example.org"',
    ),
    ("host_template: '{domain}'", TEMPLATE),
    ("host_template: '{slug}-{domain}'", TEMPLATE),
    (
        "host_template: '{slug}.{branch}.{domain}'",
        "host_template: should have no fields other than {slug}, {app} and {domain}, not"
        ' "{slug}.{branch}.{domain}"',
    ),
    (
        "host_template: '{slug!r}.{domain}'",
        "host_template: should have no fields other than {slug}, {app} and {domain}",
    ),
    (
        "host_template: '{slug}_x.{domain}'",
        "host_template: should have only characters that are valid in a host name",
    ),
    ("host_template: '{slug.{domain}'", 'host_template: should be like "{slug}.{domain}"'),
    ("host_template: '{slug}{domain}.{domain}'", TEMPLATE),
    # applications
    (APP % "command: 'a \"b'", "images.shop.command: should be a command; no closing quotation"),
    (APP % "command: [sleep, 5]", "images.shop.command: should be text or a list of texts, not a list"),
    (
        APP % "image: 'Shop Image'",
        'images.shop.image: should be an image reference such as "shop" or "registry.',
    ),
    (
        APP % "image: shop, image_name: store",
        "images.shop.image_name: is the first Stager's name for `image`; remove one of them",
    ),
    (
        APP % "health_path: health",
        'images.shop.health_path: should be a path such as "/health", not "health"',
    ),
    (APP % "health_path: '/a b'", 'images.shop.health_path: should be a path such as "/health"'),
    (APP % "env: [A=1]", "images.shop.env: should be a mapping, not a list"),
    (APP % "env: {A: [1]}", "images.shop.env.A: should be text"),
    (APP % "env: {A: }", "images.shop.env.A: should be text"),
    (APP % "env: {'A=B': 1}", 'images.shop.env."A=B": isn\'t a valid name of a variable'),
    (
        "images: {Shop: {port: 80}}",
        "images.Shop: should be lower-case, such as `shop`, or add `image`",
    ),
    ("images: {'a b': {port: 80}}", 'images."a b": should have a name of ASCII characters without spaces'),
    # people and handlers
    ("users: [joe]", 'users[0]: should be "name:password"'),
    ("users: ['joe:']", 'users[0]: should be "name:password"'),
    ("users: [':secret']", 'users[0]: should be "name:password"'),
    ("users: ['joe:a', 'ann:b', 'joe:c']", "users[2]: has the name of an earlier user"),
    (
        "github: {incoming_auth: {user: joe}}",
        "github.incoming_auth.password: is required, because `user` is given",
    ),
    (
        "github: {outgoing_auth: {password: x}}",
        "github.outgoing_auth.user: is required, because `password` is given",
    ),
    (
        "authentication_strategy: BasicAuth",
        'authentication_strategy: unknown name; did you mean "BasicAuthentication"?',
    ),
    (
        "github: {client_id: x}",
        "github.client_secret: is required, because `client_id` is given",
    ),
    (
        "routing_strategy: HaproxyRouting",
        'routing_strategy: unknown name; did you mean "HaproxyRoutingStrategy"?',
    ),
    (
        "event_listeners: [KillOnGithubPullRequestClosed, LaunchOnGithubPullRequestOpend]",
        'event_listeners[1]: unknown name; did you mean "LaunchOn',
    ),
    (
        "post_launch_handlers: Zzz",
        "post_launch_handlers: unknown name; the known names are AddGithubPullRequestCommentOnLaunch",
    ),
    (
        "pre_kill_handlers: StatusReport",
        'pre_kill_handlers: "StatusReport" belongs under `event_listeners`',
    ),
    ("handlers: {Nobody: {}}", "handlers.Nobody: unknown key; the keys are names of classes that have"),
    ("handlers: {PostToSlackOnLaunch: {}}", "handlers.PostToSlackOnLaunch: belongs under `slack`"),
    ("handlers: {RequireVariables: {names: 1}}", "handlers.RequireVariables.names: should be a list, not a"),
    ("handlers: {RequireVariables: {}}", "handlers.RequireVariables.names: is required"),
    ("pre_launch_handlers: RequireVariables", "handlers.RequireVariables.names: is required"),
    ("post_launch_handlers: [PostToSlackOnLaunch]", "slack.webhook_url: is required"),
    (
        "slack: {webhook_url: 'https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ',"
        " subdomain: acme}",
        "slack.subdomain: was removed; use `webhook_url` with the URL of an incoming webhook",
    ),
    (
        "slack: {webhook_url: 'https://example.org/x'}",
        "slack.webhook_url: should begin with https://hooks.slack.com/services/",
    ),
    (
        "notify: {urls: ['bogus://x']}",
        "notify.urls: should be a URL that Apprise supports; number 1 isn't",
    ),
    (
        "notify: {urls: ['json://a'], message: '{branch}'}",
        "notify.message: should have no fields but {image_name}, {container_name}, {url}",
    ),
    ("evergreen_containers: master", "evergreen_containers: should be a list, not text"),
    (
        "container_rotation_strategy: EvergreenExceptionsContainerRotation",
        'container_rotation_strategy: unknown name; did you mean "EvergreenExceptionsContainer',
    ),
    ("max_previews: 0", "max_previews: should be 1 at least, not 0"),
    # nginx, in the walkthrough's form
    (
        "nginx: [{target_dir: a}, {target_dri: b}]",
        'nginx.target_dri: unknown key; did you mean "target_dir"?',
    ),
    ("nginx: [{target_dir: a}, {target_dir: b}]", "nginx.target_dir: is given twice"),
    ("nginx: [a]", "nginx: should be a mapping, not a list"),
    ("nginx: {template_path: a}", "nginx.target_dir: is required, because `template_path` is given"),
    (
        "ingress_ports: 3500-3200",
        'ingress_ports: should be a range of ports such as "3200-3500", not "3500-3200"',
    ),
    ("ingress_ports: 80", 'ingress_ports: should be a range of ports such as "3200-3500", not 80'),
    # YAML
    ("a: 1\na: 2", "a: is given twice, again at line 2"),
    ("images:\n  shop: {port: 1, port: 2}", "images.shop.port: is given twice, again at line 2"),
    ("images: {shop: !ruby/object {}}", "images.shop: has the tag !ruby/object, which isn't supported"),
    ("? [a]\n: 1", "has a key that isn't text, at line 1"),
    ("a: &a [*a]", "a[0]: contains itself"),
    ("images: {<<: 3}", 'images."<<": should refer to a mapping to merge'),
    # the first Stager's environments
    (
        "development: {images: {}}",
        "development: sections per environment aren't supported; move the settings to the top level",
    ),
]


@pytest.mark.parametrize(("text", "problem"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_one_problem_is_reported_with_its_path(problems_of: ProblemsOf, text: str, problem: str) -> None:
    (found,) = problems_of(text)
    assert found.startswith(problem)


def test_all_problems_are_reported_together(problems_of: ProblemsOf) -> None:
    found = problems_of(
        "images: {shop: {port: 80x, image: '${IMAGE}'}, cart: {command: a}}\n"
        "event_listeners: [StatusReprot]\n"
        "listen: ${PORT}\n"
        "githb: {}\n"
    )

    assert sorted(found) == [
        'event_listeners[0]: unknown name; did you mean "StatusReport"?',
        'githb: unknown key; did you mean "github"?',
        "images.cart.port: is required",
        "images.shop.image: the environment variable IMAGE isn't set; set it, or allow it with ${IMAGE:-}",
        'images.shop.port: should be an integer such as 3000, not "80x"',
        "listen: the environment variable PORT isn't set; set it, or allow it with ${PORT:-}",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "users: 'joe:hunter2'",
        "users: [hunter2]",
        "users: [[hunter2]]",
        "github: hunter2",
        "github: {incoming_auth: hunter2}",
        "github: {incoming_auth: {hook_secret: [hunter2]}}",
        "images: {shop: {port: 80, env: hunter2}}",
        "images: {shop: {port: 80, env: {A: {b: hunter2}}}}",
        "images: {shop: {port: '${PASSWORD}'}}",
        "listen: ${PASSWORD}",
        "scheme: ${PASSWORD}",
        "event_listeners: ['${PASSWORD}']",
        "authentication_strategy: ${PASSWORD}",
        "users: ['${PASSWORD}:x', '${PASSWORD}:y']",
        "domain: 'http://${PASSWORD}/'",
    ],
)
def test_no_problem_quotes_what_may_be_a_secret(problems_of: ProblemsOf, text: str) -> None:
    assert not [problem for problem in problems_of(text, PASSWORD="hunter2") if "hunter2" in problem]


def test_what_a_variable_holds_is_named_by_the_variable(problems_of: ProblemsOf) -> None:
    assert problems_of("images: {shop: {port: '${PORT}'}}", PORT="80x") == [
        "images.shop.port: should be an integer such as 3000, not the value of ${PORT}"
    ]


def test_a_long_value_is_cut(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(f"reconcile_interval: {'x' * 500}")
    assert len(problem) < 200
    assert problem.endswith("…")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("images:\n\tshop: 1", "not with tabs"),
        ("a: [1, 2", "line 1, column 9"),
        ("a: b: c", "line 1, column 5"),
        ("a: *nothing", "undefined alias"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("a: \x01", "special characters"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_reported_with_its_place(problems_of: ProblemsOf, text: str, words: str) -> None:
    (problem,) = problems_of(text)
    assert words in problem
