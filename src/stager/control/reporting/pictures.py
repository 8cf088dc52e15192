"""What a pull request's comment says of the preview's pictures."""

from __future__ import annotations

from stager.ports.pictures import Album, Picture


def pictures_text(album: Album | None, deployment: str, page: str) -> str:
    """A line for each page, with links to the pictures; empty unless this deployment has some.

    Args:
        page: Stager's page of the preview, which shows them to people who may see it.
    """
    if album is None or album.deployment != deployment:
        return ""
    taken = [each for each in album.pictures if each.key]
    if not taken:
        return ""
    title = f"[Pictures]({page}#pictures)" if page else "Pictures"
    return "\n".join([f"📷 {title}", "", *(_line(each, album.compared_with) for each in taken)]) + "\n"


def _line(picture: Picture, base: str) -> str:
    """Only what the configuration says of a page and numbers: nothing that the page itself reports."""
    words = [f"- `{picture.view.route.replace('`', '')}`, {picture.view.width} px"]
    if picture.changed is not None:
        share = f"{picture.changed:.1%} changed" if picture.changed else "unchanged"
        words.append(f"{share} from `{base.replace('`', '')}`")
    if picture.problems:
        count = len(picture.problems)
        words.append(f"{count} {'problem' if count == 1 else 'problems'} in the page")
    return ": ".join([words[0], ", ".join(words[1:])]) if words[1:] else words[0]
