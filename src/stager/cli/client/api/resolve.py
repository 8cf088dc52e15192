"""Finds the preview that arguments name: by name, slug, id, host or URL, with or without its application."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from stager.cli.client.api.api import Api, Preview
from stager.cli.client.api.errors import ClientError, Code

_ID = re.compile(r"[a-z0-9]{6,64}")


def find(api: Api, words: Sequence[str]) -> Preview:
    """Return the preview that these words name.

    Args:
        words: `IMAGE NAME` or `NAME`. NAME is the raw name, the slug, the id, the host or the URL; the raw
            name takes precedence.

    Raises:
        ClientError: there is none, or there are several.
    """
    if len(words) > 2:
        raise ClientError("Too many arguments.", hint="Pass IMAGE NAME, an id, or a URL.", code=Code.USAGE)
    app, word = words if len(words) == 2 else ("", words[0])
    known = api.previews(app)
    found = [p for p in known if p.name == word] or [p for p in known if _matches(p, word)]
    # A branch of a fork may have the name of one of the repository's own branches, which takes precedence.
    candidates = [p for p in found if p.state != "refused"] or found
    if len(candidates) > 1:
        raise _ambiguous(word, candidates)
    if candidates:
        return candidates[0]
    if not app and _ID.fullmatch(word):
        return _removed(api, word)
    raise _not_found(f'"{word}" of {app}' if app else f'"{word}"')


def _removed(api: Api, id_: str) -> Preview:
    """Return a removed preview, which the list leaves out, by its id."""
    try:
        return api.preview(id_)
    except ClientError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise _not_found(f'"{id_}"') from error


def _not_found(which: str) -> ClientError:
    return ClientError(
        f"There is no preview {which}.", hint="`stager list` shows all previews.", code=Code.NOT_FOUND
    )


def _matches(preview: Preview, word: str) -> bool:
    if "://" in word:
        return urlsplit(word).netloc.lower() == urlsplit(preview.url).netloc.lower()
    address = urlsplit(preview.url)
    return word == preview.id or word.lower() in (preview.slug, address.netloc, address.hostname)


def _ambiguous(word: str, found: Sequence[Preview]) -> ClientError:
    return ClientError(
        f'"{word}" matches several previews.',
        hint="Pass the id instead:",
        code=Code.USAGE,
        lines=tuple(f"{p.id}  {p.app} {p.name} {p.pull_request}".rstrip() for p in found),
    )
