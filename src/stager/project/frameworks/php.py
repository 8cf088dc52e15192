"""PHP: Laravel, Symfony, other Composer projects, and plain files."""

from __future__ import annotations

import re
from typing import Any

from stager.project.detected import Detected
from stager.project.frameworks import node_packages
from stager.project.frameworks.text import dockerfile, exec_form, with_port
from stager.project.procfile import RELEASE, read_procfile
from stager.project.tree import Tree

PORT = 8080
_VERSION = re.compile(r"(8\.\d)(?!\d)")
_FRAMEWORKS = {"laravel/framework": "Laravel", "symfony/framework-bundle": "Symfony", "slim/slim": "Slim"}
_EXTENSIONS = "bcmath intl opcache pdo_mysql pdo_pgsql zip"
_LIBRARIES = "libicu-dev libpq-dev libzip-dev"


def detect(tree: Tree) -> Detected | None:
    """Return the PHP application of a folder; None for none."""
    required = _required(tree)
    root = next((folder for folder in ("public", "web", ".") if tree.has(f"{folder}/index.php")), "")
    if not root:
        return None
    framework = next((name for key, name in _FRAMEWORKS.items() if key in required), "PHP")
    release = read_procfile(tree).get(RELEASE)
    before = (release,) if release else _laravel_start(tree) if framework == "Laravel" else ()
    assets = _assets(tree) if framework in ("Laravel", "Symfony") else None
    version = _VERSION.search(str(required.get("php", "")))
    bases = {"PHP_BASE": f"php:{_php(version[1] if version else '')}-apache"}
    bases |= {"COMPOSER_BASE": "composer:2"} if required else {}
    bases |= {"NODE_BASE": assets.build_base} if assets else {}
    start = with_port("apache2-foreground", PORT, *before)
    text = dockerfile(
        framework,
        "composer" if required else "",
        tuple(f"ARG {name}={base}" for name, base in bases.items()),
        *([_vendor(tree)] if required else []),
        *([_built_assets(assets)] if assets else []),
        _running(root, start, has_vendor=bool(required), has_assets=assets is not None),
    )
    return Detected(
        framework=framework,
        package_manager="composer" if required else "",
        port=PORT,
        command=start,
        dockerfile=text,
        why=_why(root, has_composer=bool(required)),
        bases=bases,
        health_path="/up" if re.search(r"health:\s*'/up'", tree.text("bootstrap/app.php")) else "",
        notes=_notes(framework),
    )


def _vendor(tree: Tree) -> tuple[str, ...]:
    files = "composer.json composer.lock" if tree.has("composer.lock") else "composer.json"
    options = "--no-dev --no-interaction --prefer-dist --no-scripts --ignore-platform-reqs"
    return (
        "FROM ${COMPOSER_BASE} AS vendor",
        "WORKDIR /app",
        f"COPY {files} ./",
        f"RUN composer install {options} --no-autoloader",
        "COPY . .",
        "RUN composer dump-autoload --no-dev --no-scripts --optimize",
    )


def _built_assets(packages: node_packages.NodePackages) -> tuple[str, ...]:
    return (
        "FROM ${NODE_BASE} AS assets",
        "WORKDIR /app",
        *node_packages.install(packages, production=False),
        f"RUN {packages.run('build')}",
    )


def _running(root: str, start: tuple[str, ...], *, has_vendor: bool, has_assets: bool) -> tuple[str, ...]:
    served = "/var/www/html" if root == "." else f"/var/www/html/{root}"
    source = (
        "COPY --from=vendor --chown=www-data:www-data /app ." if has_vendor else "COPY --chown=www-data . ."
    )
    assets = ["COPY --from=assets --chown=www-data:www-data /app/public ./public"] if has_assets else []
    return (
        "FROM ${PHP_BASE}",
        f"RUN apt-get update && apt-get install --yes --no-install-recommends {_LIBRARIES} "
        f"&& docker-php-ext-install {_EXTENSIONS} && rm -rf /var/lib/apt/lists/*",
        "RUN a2enmod rewrite && sed -i 's/^Listen 80$/Listen ${PORT}/' /etc/apache2/ports.conf "
        "&& sed -i -e 's/\\*:80>/*:${PORT}>/' "
        f"-e 's|DocumentRoot .*|DocumentRoot {served}|' /etc/apache2/sites-available/000-default.conf",
        "WORKDIR /var/www/html",
        source,
        *assets,
        "USER www-data",
        f"EXPOSE {PORT}",
        exec_form(start),
    )


def _laravel_start(tree: Tree) -> tuple[str, ...]:
    """Creates the SQLite database of Laravel's default settings, and a key where none is set."""
    if not tree.has("artisan"):
        return ()
    return (
        'export APP_KEY="${APP_KEY:-base64:$(head -c 32 /dev/urandom | base64)}"',
        "touch database/database.sqlite",
        "php artisan migrate --force",
    )


def _why(root: str, *, has_composer: bool) -> tuple[str, ...]:
    page = f"{'' if root == '.' else f'{root}/'}index.php is the page."
    return ("composer.json has the dependencies.", page) if has_composer else (page,)


def _notes(framework: str) -> tuple[str, ...]:
    note = "Without APP_KEY under `secrets`, each start has a new key, which ends all sessions."
    return (note,) if framework == "Laravel" else ()


def _assets(tree: Tree) -> node_packages.NodePackages | None:
    packages = node_packages.read_packages(tree)
    return packages if packages and "build" in packages.scripts else None


def _php(version: str) -> str:
    """The version of `php` in composer.json, at least the oldest with public images that are still built."""
    return max(version, "8.3")


def _required(tree: Tree) -> dict[str, Any]:
    required = tree.json("composer.json").get("require")
    return required if isinstance(required, dict) else {}
