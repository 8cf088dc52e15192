"""What a pull request's comment says of the preview's pictures."""

from __future__ import annotations

from collections.abc import Mapping

from stager.ports.pictures import Album, Picture

SHOWN_WIDTH = 400
"""Pixels of an image at most: two of them fit beside each other in a comment."""
NOT_SAID = frozenset({"pictures-untrusted"})
"""Reasons that are a rule of the configuration, which nobody needs to act on."""


def pictures_text(album: Album | None, deployment: str, page: str, urls: Mapping[str, str]) -> str:
    """A line for each page, with its picture where the forge can show it; empty unless this deployment has
    some.

    Args:
        page: Stager's page of the preview, which shows them to people who may see it.
        urls: of the pictures by their keys; empty: the page is linked instead.
    """
    if album is None or album.deployment != deployment or album.reason in NOT_SAID:
        return ""
    title = f"[Pictures]({page}#pictures)" if page else "Pictures"
    if album.reason:
        return f"📷 {title}: {_plain(album.message)}\n"
    if not album.keys:
        return ""
    pieces = [_line(each, album.compared_with) + _images(each, urls) for each in album.pictures if each.key]
    return "\n".join([f"📷 {title}", "", *pieces]) + "\n"


def _line(picture: Picture, base: str) -> str:
    """Only what the configuration says of a page and numbers: nothing that the page itself reports."""
    words = [f"- `{_plain(picture.view.route)}`, {picture.view.width} px"]
    if picture.changed is not None:
        share = f"{picture.changed:.1%} changed" if picture.changed else "unchanged"
        words.append(f"{share} from `{_plain(base)}`")
    if picture.problems:
        count = len(picture.problems)
        words.append(f"{count} {'problem' if count == 1 else 'problems'} in the page")
    return ": ".join([words[0], ", ".join(words[1:])]) if words[1:] else words[0]


def _images(picture: Picture, urls: Mapping[str, str]) -> str:
    """The picture, and that of the base branch if they differ, within the item of the list."""
    keys = [picture.key, *([picture.before] if picture.changed else [])]
    width = min(SHOWN_WIDTH, picture.view.width)
    shown = [
        _image(urls[key], width, alt)
        for key, alt in zip(keys, ("now", "before"), strict=False)
        if key in urls
    ]
    return f"<br>{' '.join(shown)}" if shown else ""


def _image(url: str, width: int, alt: str) -> str:
    return f'<a href="{url}"><img src="{url}" width="{width}" alt="{alt}"></a>'


def _plain(text: str) -> str:
    return text.replace("`", "")
