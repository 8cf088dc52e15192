"""Which preview a person means: by application and name, by name alone, by id, or by URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from stager.cli.client.api.api import Api, Preview
from stager.cli.client.api.errors import ClientError, Code

_ID = re.compile(r"[a-z0-9]{6,64}")


def find(api: Api, words: Sequence[str]) -> Preview:
    """The preview that these words mean.

    Args:
        words: `IMAGE NAME`, or one of name, id, URL.

    Raises:
        ClientError: there is none, or there are several.
    """
    if len(words) > 2:
        raise ClientError("Too many words.", hint="Say IMAGE NAME, an id, or a URL.", code=Code.USAGE)
    app, word = words if len(words) == 2 else ("", words[0])
    found = [p for p in api.previews(app) if (p.name == word if app else _is_meant(p, word))]
    # What a fork names like one of our branches isn't what anybody means by that.
    candidates = [p for p in found if p.state != "refused"] or found
    if len(candidates) > 1:
        raise _ambiguous(word, candidates)
    if candidates:
        return candidates[0]
    if not app and _ID.fullmatch(word):
        return _gone(api, word)
    which = f'"{word}" of {app}' if app else f'"{word}"'
    raise ClientError(
        f"There is no preview {which}.", hint="`stager list` has those that there are.", code=Code.NOT_FOUND
    )


def _gone(api: Api, id_: str) -> Preview:
    """One that isn't listed any more may still be asked for by its id."""
    try:
        return api.preview(id_)
    except ClientError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise _none(f'"{id_}"') from error


def _none(which: str) -> ClientError:
    return ClientError(
        f"There is no preview {which}.", hint="`stager list` has those that there are.", code=Code.NOT_FOUND
    )


def _is_meant(preview: Preview, word: str) -> bool:
    if "://" in word:
        return urlsplit(word).netloc.lower() == urlsplit(preview.url).netloc.lower()
    return word in (preview.id, preview.name)


def _ambiguous(word: str, found: Sequence[Preview]) -> ClientError:
    return ClientError(
        f'"{word}" may mean several previews.',
        hint="Say which by its id:",
        code=Code.USAGE,
        lines=tuple(f"{p.id}  {p.app} {p.name} {p.pull_request}".rstrip() for p in found),
    )
