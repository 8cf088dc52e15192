"""Ruby: Rails, Sinatra and other Rack applications, and Jekyll."""

from __future__ import annotations

import re

from stager.project.detected import Detected
from stager.project.frameworks.text import (
    STATIC_BASE,
    STATIC_COMMAND,
    STATIC_PORT,
    dockerfile,
    running,
    static_site,
    with_port,
)
from stager.project.procfile import RELEASE, WEB, read_procfile
from stager.project.tree import Tree

PORT = 3000
_GEM = re.compile(r"""^[ \t]*gem[ \t]+["']([\w-]+)["']""", re.MULTILINE)
_VERSION = re.compile(r"(3\.\d)(?!\d)")
_BUNDLERS = frozenset({"jsbundling-rails", "cssbundling-rails", "webpacker", "shakapacker"})
"""Gems that build assets with Node.js."""
_PACKAGES = "build-essential git libpq-dev libsqlite3-dev libyaml-dev pkg-config"


def detect(tree: Tree) -> Detected | None:
    """Return the Ruby application of a folder; None for none."""
    gems = set(_GEM.findall(tree.text("Gemfile")))
    if not gems:
        return None
    if "jekyll" in gems or "github-pages" in gems:
        return _jekyll(tree)
    procfile = read_procfile(tree)
    framework = "Rails" if "rails" in gems else "Sinatra" if "sinatra" in gems else "Rack"
    before = (procfile[RELEASE],) if RELEASE in procfile else ()
    if WEB in procfile:
        return _server(tree, framework, procfile[WEB], before)
    if framework == "Rails":
        command = 'bundle exec rails server --binding 0.0.0.0 --port "$PORT"'
        return _server(tree, framework, command, before or ("bundle exec rails db:prepare",))
    if tree.has("config.ru"):
        return _server(tree, framework, 'bundle exec rackup --host 0.0.0.0 --port "$PORT"', before)
    return None


def _server(tree: Tree, framework: str, command: str, before: tuple[str, ...]) -> Detected:
    is_rails = framework == "Rails"
    bases = {"RUBY_BASE": f"ruby:{_ruby(tree)}-slim"}
    start = with_port(command, PORT, *before)
    rails = "RAILS_ENV=production RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1"
    text = dockerfile(
        framework,
        "bundler",
        (f"ARG RUBY_BASE={bases['RUBY_BASE']}", "FROM ${RUBY_BASE}"),
        (
            _installed_packages(needs_node=bool(_BUNDLERS & set(_GEM.findall(_gemfile(tree))))),
            f"ENV {rails if is_rails else 'RACK_ENV=production'} BUNDLE_WITHOUT=development:test",
            "WORKDIR /app",
            *_bundle(tree),
            *(
                ["RUN SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile"]
                if _has_assets(tree)
                else []
            ),
            "RUN mkdir -p db log storage tmp && chown -R 1000:1000 /app",
        ),
        ("ENV HOME=/tmp", *running(start, PORT)),
    )
    has_check = "rails/health#show" in tree.text("config/routes.rb")
    note = "Rails requires SECRET_KEY_BASE in production: set it under `secrets`."
    return Detected(
        framework=framework,
        package_manager="bundler",
        port=PORT,
        command=start,
        dockerfile=text,
        why=(f"Gemfile has {framework}.",) if framework != "Rack" else ("config.ru is a Rack application.",),
        bases=bases,
        health_path="/up" if is_rails and has_check else "",
        notes=(note,) if is_rails else (),
    )


def _jekyll(tree: Tree) -> Detected:
    bases = {"RUBY_BASE": f"ruby:{_ruby(tree)}-slim", "STATIC_BASE": STATIC_BASE}
    text = dockerfile(
        "Jekyll",
        "bundler",
        (*(f"ARG {name}={base}" for name, base in bases.items()), "FROM ${RUBY_BASE} AS build"),
        (
            _installed_packages(),
            "ENV JEKYLL_ENV=production LANG=C.UTF-8",
            "WORKDIR /app",
            *_bundle(tree),
            "RUN bundle exec jekyll build --destination /site",
        ),
        static_site("/site"),
    )
    return Detected(
        framework="Jekyll",
        package_manager="bundler",
        port=STATIC_PORT,
        command=STATIC_COMMAND,
        dockerfile=text,
        why=("Gemfile has Jekyll.",),
        bases=bases,
    )


def _bundle(tree: Tree) -> list[str]:
    lock = " Gemfile.lock" if tree.has("Gemfile.lock") else ""
    needs_sources = bool(
        re.search(r"\bpath:|^[ \t]*(?:gemspec|eval_gemfile|path)\b|\.ruby-version", _gemfile(tree))
    )
    installing = "RUN bundle install --jobs 4 && rm -rf ~/.bundle/cache"
    if needs_sources:
        return ["COPY . .", installing]
    return [f"COPY Gemfile{lock} ./", installing, "COPY . ."]


def _gemfile(tree: Tree) -> str:
    return tree.text("Gemfile")


def _installed_packages(*, needs_node: bool = False) -> str:
    packages = f"{_PACKAGES} nodejs npm" if needs_node else _PACKAGES
    yarn = " && npm install --global yarn@1.22.22" if needs_node else ""
    return (
        "RUN apt-get update && apt-get install --yes --no-install-recommends "
        f"{packages} && rm -rf /var/lib/apt/lists/*{yarn}"
    )


def _has_assets(tree: Tree) -> bool:
    return tree.has_folder("app/assets")


def _ruby(tree: Tree) -> str:
    for text in (tree.text(".ruby-version"), tree.text(".tool-versions"), _gemfile_version(tree)):
        found = _VERSION.search(text)
        if found:
            return found[1]
    return "3.3"


def _gemfile_version(tree: Tree) -> str:
    found = re.search(r"""^[ \t]*ruby[ \t]+["'][^"'\d]*([\d.]+)""", _gemfile(tree), re.MULTILINE)
    return found[1] if found else ""
