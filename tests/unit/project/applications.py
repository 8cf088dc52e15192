"""Small applications, each with the files by which its framework is detected. `golden/NAME.Dockerfile` is the
reviewed Dockerfile of each; `python -m tests.unit.project.applications` writes them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stager.project.frameworks.detect import detect_all
from stager.project.tree import Tree

GOLDEN = Path(__file__).parent / "golden"

Files = Mapping[str, str]

HTTP_PY = """\
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"it works")

HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page).serve_forever()
"""
HTTP_JS = """\
require("http").createServer((_, answer) => answer.end("it works")).listen(process.env.PORT || 4000);
"""
MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """\
import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = os.environ.get("SECRET_KEY", "for tests only")
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.staticfiles"]
ROOT_URLCONF = "shop.urls"
STATIC_URL, STATIC_ROOT = "static/", BASE_DIR / "static"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
"""
URLS = """\
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda _: HttpResponse(f"it works for {User.objects.count()} users"))]
"""
WSGI = """\
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
FLASK = """\
from flask import Flask

def create_app(settings=None):
    app = Flask(__name__)
    app.get("/")(lambda: "it works")
    return app
"""
FASTAPI = """\
from fastapi import FastAPI
from shop.texts import GREETING
app: FastAPI = FastAPI(title="Shop")
app.get("/")(lambda: GREETING)
"""
PYPROJECT = '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = [{}]\n'
UV_LOCK = """\
version = 1
requires-python = ">=3.11"

[[package]]
name = "shop"
version = "1.0"
source = { virtual = "." }
"""
LAYOUT = "export default function Layout({children}) { return <html><body>{children}</body></html> }\n"

WORKSPACE_LOCK = json.dumps(
    {
        "lockfileVersion": 3,
        "requires": True,
        "packages": {
            "": {"workspaces": ["apps/*", "packages/*"]},
            "apps/web": {"name": "web", "version": "1.0.0", "dependencies": {"greeting": "*"}},
            "packages/greeting": {"name": "greeting", "version": "1.0.0"},
            "node_modules/web": {"resolved": "apps/web", "link": True},
            "node_modules/greeting": {"resolved": "packages/greeting", "link": True},
        },
    }
)

BUILT: Mapping[str, Files] = {
    "django": {
        "requirements.txt": "django>=5,<6\ngunicorn\n",
        "manage.py": MANAGE,
        "shop/__init__.py": "",
        "shop/settings.py": SETTINGS,
        "shop/urls.py": URLS,
        "shop/wsgi.py": WSGI,
    },
    "flask": {
        "requirements.txt": "-r requirements/base.txt\n",
        "requirements/base.txt": "flask==3.*\n",
        "shop/__init__.py": FLASK,
        "runtime.txt": "python-3.11.9\n",
    },
    "fastapi": {
        "pyproject.toml": PYPROJECT.format('"fastapi"'),
        "src/shop/__init__.py": "",
        "src/shop/main.py": FASTAPI,
        "src/shop/texts.py": 'GREETING = "it works"\n',
    },
    "python-uv": {
        "pyproject.toml": PYPROJECT.format(""),
        "uv.lock": UV_LOCK,
        "main.py": HTTP_PY,
    },
    "python-procfile": {
        "requirements.txt": "\n",
        "serve.py": HTTP_PY,
        "Procfile": "release: echo it begins\nweb: cd . && python serve.py\nworker: python worker.py\n",
    },
    "express": {
        "package.json": '{"scripts": {"start": "node server.js"}, "dependencies": {"express": "4"}}',
        "server.js": 'require("express")().get("/", (_, answer) => answer.send("it works")).listen('
        "process.env.PORT || 5000);\n",
    },
    "node-pnpm": {
        "package.json": '{"scripts": {"start": "node server.js", "build": "echo built"}}',
        "pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n",
        "server.js": HTTP_JS,
    },
    "node-yarn": {
        "package.json": '{"scripts": {"start": "TITLE=x node server.js"}, "engines": {"node": ">=20"}}',
        "yarn.lock": "# yarn lockfile v1\n",
        "server.js": HTTP_JS,
    },
    "node-workspace": {
        "package.json": '{"private": true, "workspaces": ["apps/*", "packages/*"]}',
        "package-lock.json": WORKSPACE_LOCK,
        "apps/web/package.json": '{"name": "web", "version": "1.0.0", "scripts": {"start": "node server.js"},'
        ' "dependencies": {"greeting": "*"}}',
        "apps/web/server.js": 'const text = require("greeting");\n'
        'require("http").createServer((_, answer) => answer.end(text)).listen(process.env.PORT || 3000);\n',
        "packages/greeting/package.json": '{"name": "greeting", "version": "1.0.0"}',
        "packages/greeting/index.js": 'module.exports = "it works\\n";\n',
    },
    "vite": {
        "package.json": '{"type": "module", "scripts": {"build": "vite build"},'
        ' "devDependencies": {"vite": "5"}}',
        "index.html": '<!doctype html><p>it works</p><script type="module" src="/main.js"></script>\n',
        "main.js": 'document.title = "it works";\n',
        "vite.config.js": 'export default { build: { outDir: "./public_html" } };\n',
    },
    "eleventy": {
        "package.json": '{"devDependencies": {"@11ty/eleventy": "2"}}',
        "index.md": "it works\n",
    },
    "mkdocs": {"mkdocs.yml": "site_name: Shop\n", "docs/index.md": "it works\n"},
    "hugo": {"hugo.toml": 'title = "Shop"\n', "layouts/index.html": "it works\n", "content/a.md": "a\n"},
    "static": {"public/index.html": "it works\n"},
}
"""Those that are built and run in tests."""

COMPARED: Mapping[str, Files] = {
    "python-poetry": {
        "pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.11"\nflask = "*"\npsycopg2 = "*"\n',
        "poetry.lock": "",
        "app.py": "from flask import Flask\napp = Flask(__name__)\n",
    },
    "python-pipenv": {
        "Pipfile": '[packages]\nquart = "*"\n[requires]\npython_version = "3.12"\n',
        "Pipfile.lock": "{}",
        "app.py": "import quart\napp = quart.Quart(__name__)\n",
    },
    "django-in-folder": {
        "requirements.txt": "Django\n",
        "backend/manage.py": MANAGE,
        "backend/shop/settings.py": "",
        "backend/shop/wsgi.py": WSGI,
    },
    "streamlit": {"requirements.txt": "streamlit\n", "app.py": "import streamlit\n"},
    "next": {
        "package.json": '{"scripts": {"build": "next build", "start": "next start"},'
        ' "dependencies": {"next": "14", "react": "18", "react-dom": "18"}}',
        "package-lock.json": "{}",
        "app/layout.js": LAYOUT,
        "app/page.js": "export default function Page() { return <p>it works</p> }\n",
    },
    "next-exported": {
        "package.json": '{"scripts": {"build": "next build"}, "dependencies": {"next": "15"}}',
        "next.config.mjs": 'export default { output: "export" };\n',
    },
    "nest-native": {
        "package.json": '{"scripts": {"build": "nest build", "start": "nest start", "postinstall": "x"},'
        ' "dependencies": {"@nestjs/core": "10", "canvas": "2"}}',
        "package-lock.json": "{}",
    },
    "node-bun": {
        "package.json": '{"dependencies": {"hono": "4"}, "main": "src/index.js"}',
        "bun.lock": "",
        "src/index.js": "",
    },
    "node-berry": {
        "package.json": '{"packageManager": "yarn@4.5.1+sha224.0", "scripts": {"start": "node ./app.js"}}',
        "yarn.lock": "__metadata:\n",
        ".yarnrc.yml": "nodeLinker: node-modules\n",
    },
    "rails": {
        "Gemfile": 'source "https://rubygems.org"\nruby "3.2.2"\ngem "rails", "~> 7.1"\n',
        "Gemfile.lock": "",
        "config/routes.rb": 'get "up" => "rails/health#show"\n',
        "app/assets/config/manifest.js": "",
        "package.json": "{}",
    },
    "sinatra": {"Gemfile": "gem 'sinatra'\n", "Gemfile.lock": "", "config.ru": "run App\n"},
    "jekyll": {"Gemfile": 'gem "jekyll"\n', "_config.yml": "title: Shop\n"},
    "laravel": {
        "composer.json": '{"require": {"php": "^8.2", "laravel/framework": "^11.0"}}',
        "composer.lock": "{}",
        "artisan": "",
        "public/index.php": "<?php\n",
        "bootstrap/app.php": "->withRouting(health: '/up')",
        "package.json": '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}}',
        "package-lock.json": "{}",
    },
    "php": {"index.php": "<?php echo 'it works';\n"},
    "go": {
        "go.mod": "module example.org/shop\n\ngo 1.24.1\n",
        "go.sum": "",
        "main.go": 'package main\n\nfunc main() { listen(":9000") }\n',
    },
    "go-in-cmd": {
        "go.mod": "module example.org/shop\n\ngo 1.20\n\nrequire github.com/mattn/go-sqlite3 v1.14.0\n",
        "cmd/server/main.go": "package main\n",
        "cmd/tool/main.go": "package main\n",
        "internal/x.go": "package internal\n",
    },
}
"""Those whose Dockerfile is compared only."""

APPLICATIONS = {**BUILT, **COMPARED}


def make(root: Path, files: Files) -> Tree:
    """Write the files of an application below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Tree(root)


def main() -> None:
    """Write the Dockerfiles of all applications."""
    for name, files in APPLICATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            [found] = detect_all(make(Path(folder), files))
            (GOLDEN / f"{name}.Dockerfile").write_text(found.dockerfile)


if __name__ == "__main__":
    main()
