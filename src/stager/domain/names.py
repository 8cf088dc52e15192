"""Makes DNS labels (RFC 1123, section 2.1) of the names that users give.

`standard` slugs have letters lower-cased and without accents, and one dash for everything between letters and
digits. `legacy` slugs follow the first Stager's table, corrected where that gives no legal label: separators
become dashes, and everything else is dropped, slashes included.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

LABEL_LENGTH = 63
"""The longest label that DNS allows (RFC 1035, section 2.3.4)."""

HASH_LENGTH = 6
RESERVED = frozenset({"default"})
"""Slugs that no preview gets: the first Stager's nginx kept its own vhost in a file called `default`."""

SlugRule = Literal["standard", "legacy"]
SLUG_RULES: tuple[SlugRule, ...] = ("standard", "legacy")

_SEPARATORS = frozenset(" &(){}[],.;:=+<>~-_")
_BETWEEN = re.compile(r"[^a-z0-9]+")
_LIGATURES = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "þ": "th", "ð": "d", "đ": "d", "ł": "l", "ı": "i", "ħ": "h"}
)


def slugify(name: str, rule: SlugRule = "standard") -> str:
    """Convert a name to a DNS label; an empty string if none of its characters can be kept.

    Args:
        name: a branch, or the name given at a launch; any text.
    """
    if rule == "legacy":
        return _legacy_slug(name)
    plain = unicodedata.normalize("NFKD", name.lower().translate(_LIGATURES)).lower()
    return _BETWEEN.sub("-", "".join(c for c in plain if not unicodedata.combining(c))).strip("-")


def _legacy_slug(name: str) -> str:
    # Lower-cased again at the end: mathematical letters have a case only after normalising.
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "b").translate(_LIGATURES)).lower()
    kept = "".join("-" if c in _SEPARATORS else c for c in plain if c in _SEPARATORS or _is_plain(c))
    label = kept.strip("-")
    return label.replace("xn--", "xn-", 1) if label.startswith("xn--") else label


def _is_plain(character: str) -> bool:
    return character.isascii() and character.isalnum()


def is_reserved(name: str) -> bool:
    """Whether this name is refused at a launch, whichever rule makes the slugs."""
    return any(slugify(name, rule) in RESERVED for rule in SLUG_RULES)


MIN_SLUG_LENGTH = HASH_LENGTH + 2
"""Characters of a label that the slug needs at least: a letter, a dash and the hash."""


def host_parts(template: str, app: str, rule: SlugRule = "standard") -> tuple[str, int]:
    """Compute the lengths that keep every label of a host template legal.

    Args:
        template: such as `{slug}-{app}.{domain}`.
        app: the entry under `images:`.

    Returns:
        The application's part, shortened if it would leave no space for the slug, and the maximum length of
        the slug.
    """
    app, room = slugify(app, rule), LABEL_LENGTH
    for label in template.removesuffix(".{domain}").split("."):
        slugs, apps = label.count("{slug}"), label.count("{app}")
        fixed = len(label.replace("{slug}", "").replace("{app}", ""))
        if apps:
            app = app[: (LABEL_LENGTH - fixed - slugs * MIN_SLUG_LENGTH) // apps].rstrip("-")
        if slugs:
            room = min(room, (LABEL_LENGTH - fixed - apps * len(app)) // slugs)
    return app, room


def labels(
    name: str, *, app: str, key: str, room: int = LABEL_LENGTH, rule: SlugRule = "standard"
) -> Iterator[str]:
    """The candidate labels of a preview, best first: the slug, the slug with the app's, the slug with a hash.

    Args:
        name: the branch, or the name given at a launch.
        app: the entry under `images:`.
        key: the environment's key, from which the hash is computed, so that it never changes.
        room: maximum number of characters, `MIN_SLUG_LENGTH` or more.
    """
    slug = slugify(name, rule)
    if slug and slug not in RESERVED and len(slug) <= room:
        yield slug
        with_app = f"{slug}-{slugify(app, rule)}".rstrip("-")
        if with_app != slug and len(with_app) <= room:
            yield with_app
    kept = slug[: room - HASH_LENGTH - 1].rstrip("-")
    yield f"{kept}-{_hash(key)}".lstrip("-")


def service_labels(service: str, label: str) -> Iterator[str]:
    """The candidate labels of a service's host, best first: `SERVICE--LABEL`, and one with a hash of both.

    Args:
        service: the name of the service.
        label: the first label of its environment's host.
    """
    slug = slugify(service)
    whole = f"{slug}--{label}"
    if len(whole) <= LABEL_LENGTH and slug != "xn":  # `xn--` begins an encoded label (RFC 5890, 2.3.1)
        yield whole
    kept = slug[:20].rstrip("-")
    room = LABEL_LENGTH - len(kept) - 2 - HASH_LENGTH - 1
    yield f"{kept}-{_hash(f'{service}/{label}')}--{label[:room].rstrip('-')}"


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean "shop"?` if a known name is similar to `name`, otherwise an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f'did you mean "{close[0]}"?' if close else ""
