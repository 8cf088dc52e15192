"""Delivers a pull request event to a Stager as GitHub would: same headers, same shape, signed.

For trying things out where no GitHub can reach the machine; `scripts/demo` does. Standard library only.

    python3 scripts/deliver.py opened --repository demo/stager-demo --number 7 --branch my-branch \\
        --sha $(git rev-parse my-branch) --secret-file .stager/demo/hook_secret
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import http.client
import json
import sys
import urllib.parse
import uuid
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ACTIONS = ("opened", "synchronize", "reopened", "closed")
DEFAULT_URL = "http://127.0.0.1:8000/webhooks/github"
TIMEOUT = 10.0
"""Seconds to wait for the answer; GitHub itself gives up after as many."""

Json = dict[str, "str | int | bool | Json | None"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request of a branch of the repository itself.

    Args:
        repository: as `owner/name`; the name is the entry under `images:`.
        sha: the head commit.
        before: the head before the push, for `synchronize`.
    """

    repository: str
    number: int
    branch: str
    sha: str
    title: str = ""
    author: str = "demo"
    before: str = ""


def payload(action: str, pull: PullRequest, now: datetime) -> Json:
    """What GitHub's `pull_request` event says, as far as anybody here reads it."""
    repository = _repository(pull.repository)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    event: Json = {
        "action": action,
        "number": pull.number,
        "pull_request": {
            "id": _id(f"{pull.repository}#{pull.number}"),
            "number": pull.number,
            "state": "closed" if action == "closed" else "open",
            "title": pull.title or pull.branch,
            "html_url": f"https://github.invalid/{pull.repository}/pull/{pull.number}",
            "user": {"login": pull.author, "type": "User"},
            "draft": False,
            "merged": False,
            "updated_at": stamp,
            "closed_at": stamp if action == "closed" else None,
            "head": {"ref": pull.branch, "sha": pull.sha, "repo": repository},
            "base": {"ref": "main", "repo": repository},
        },
        "repository": repository,
        "sender": {"login": pull.author, "type": "User"},
    }
    if action == "synchronize":
        event |= {"before": pull.before, "after": pull.sha}
    return event


def _repository(full_name: str) -> Json:
    owner, name = full_name.split("/")
    login: Json = {"login": owner, "type": "Organization"}
    return {"id": _id(full_name), "name": name, "full_name": full_name, "owner": login, "fork": False}


def _id(text: str) -> int:
    """A number that is always the same for the same thing."""
    return zlib.crc32(text.encode())


def signature(secret: str, body: bytes) -> str:
    """The value of `X-Hub-Signature-256` for these very bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def deliver(url: str, secret: str, action: str, pull: PullRequest) -> tuple[int, str]:
    """Send the event and return the answer's status and text. Raises OSError when nobody answers."""
    body = json.dumps(payload(action, pull, datetime.now(UTC))).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/demo",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": signature(secret, body),
    }
    return _post(url, body, headers)


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request("POST", parts.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deliver a signed pull request event to a Stager.")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--url", default=DEFAULT_URL, help="where the webhook goes (default: %(default)s)")
    parser.add_argument("--secret-file", type=Path, required=True, help="a file that holds the hook_secret")
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME")
    parser.add_argument("--number", type=int, required=True, help="of the pull request")
    parser.add_argument("--branch", required=True)
    parser.add_argument("--sha", required=True, help="the branch's newest commit")
    parser.add_argument("--before", default="0" * 40, help="for synchronize: the commit before the push")
    parser.add_argument("--title", default="")
    return parser.parse_args()


def main() -> int:
    """Deliver what the command line says; 0 when it was accepted."""
    given = _arguments()
    pull = PullRequest(
        given.repository, given.number, given.branch, given.sha, title=given.title, before=given.before
    )
    try:
        status, text = deliver(given.url, given.secret_file.read_text().strip(), given.action, pull)
    except OSError as error:
        print(f"{given.url} doesn't answer: {error}", file=sys.stderr)
        return 1
    print(f"{status} {text}".strip())
    return 0 if 200 <= status < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
