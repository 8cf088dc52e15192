"""Reduces GitHub's OpenAPI description to what a preview server may call: Prism then starts within seconds.

usage: prune_openapi.py FROM TO
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEPT = [
    "/user",
    "/app",
    "/app/hook/deliveries",
    "/app/hook/deliveries/{delivery_id}",
    "/app/hook/deliveries/{delivery_id}/attempts",
    "/app-manifests/{code}/conversions",
    "/app/installations",
    "/app/installations/{installation_id}/access_tokens",
    "/installation/repositories",
    "/repos/{owner}/{repo}",
    "/repos/{owner}/{repo}/installation",
    "/repos/{owner}/{repo}/pulls",
    "/repos/{owner}/{repo}/pulls/{pull_number}",
    "/repos/{owner}/{repo}/pulls/{pull_number}/files",
    "/repos/{owner}/{repo}/issues/{issue_number}/comments",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}",
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
    "/repos/{owner}/{repo}/collaborators/{username}/permission",
    "/repos/{owner}/{repo}/deployments",
    "/repos/{owner}/{repo}/deployments/{deployment_id}",
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
    "/repos/{owner}/{repo}/environments/{environment_name}",
    "/repos/{owner}/{repo}/statuses/{sha}",
    "/repos/{owner}/{repo}/commits/{ref}/status",
    "/repos/{owner}/{repo}/commits/{ref}/check-runs",
    "/repos/{owner}/{repo}/check-runs",
    "/repos/{owner}/{repo}/check-runs/{check_run_id}",
    "/repos/{owner}/{repo}/hooks",
    "/repos/{owner}/{repo}/hooks/{hook_id}",
    "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries",
    "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
    "/repos/{owner}/{repo}/contents/{path}",
    "/repos/{owner}/{repo}/branches",
    "/meta",
    "/rate_limit",
]

MEDIA_TYPES = ("application/vnd.github+json", "application/vnd.github.v3+json")
"""What GitHub's clients accept, and GitHub answers; its description names `application/json` alone."""

Json = dict[str, Any]


def pruned(whole: Json) -> Json:
    """The description of the kept paths with everything that they refer to. Raises KeyError if a path is
    missing."""
    kept: Json = {
        name: part for name, part in whole.items() if name not in ("paths", "x-webhooks", "components")
    }
    kept["paths"] = {path: whole["paths"][path] for path in KEPT}
    kept["servers"] = [{"url": "/"}]
    kept["components"] = components(kept["paths"], whole["components"])
    for part in objects([kept["paths"], kept["components"]]):
        add_media_types(part.get("content"))
    return kept


def components(paths: Json, all_of_them: Json) -> Json:
    """The components that the paths refer to, directly or not."""
    found: Json = {}
    waiting: list[Any] = [paths]
    while waiting:
        for part in objects(waiting.pop()):
            reference = part.get("$ref")
            if not isinstance(reference, str):
                continue
            kind, name = reference.removeprefix("#/components/").split("/")
            if name not in found.setdefault(kind, {}):
                found[kind][name] = all_of_them[kind][name]
                waiting.append(found[kind][name])
    return found


def objects(value: Any) -> Iterator[Json]:
    """Every JSON object within."""
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in list(children):
        yield from objects(child)


def add_media_types(content: Any) -> None:
    """Also answer with GitHub's own JSON media type where the answer is JSON."""
    if isinstance(content, dict) and isinstance(content.get("application/json"), dict):
        for media_type in MEDIA_TYPES:
            content.setdefault(media_type, content["application/json"])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(pruned(json.loads(source.read_text(encoding="utf-8")))), encoding="utf-8")
