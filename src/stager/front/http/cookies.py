"""Cookies on their way through the front: ours never reach an app, and an app's never reach beyond its host.

Pure. What isn't ours passes byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence

PLAIN_NAME, SECURE_NAME = b"stager-pass", b"__Host-stager-pass"
"""Of the cookie that holds a pass, over http and over https. Browsers let nobody but this very host set the
second, over https (RFC 6265bis, section 4.1.3.2)."""
_OURS = frozenset({PLAIN_NAME, SECURE_NAME})
_MOST = 8


def access_tokens_in(values: Sequence[bytes], name: bytes) -> list[str]:
    """What the cookies of this name hold. There may be several: another host may have set one that is sent
    here too, and must not shut out the right one by that."""
    found = []
    for value in values:
        for pair in value.split(b";"):
            key, _, text = pair.partition(b"=")
            if key.strip(b" \t") == name:
                found.append(text.strip(b" \t").decode("latin-1"))
    return found[:_MOST]


def without_access_cookies(value: bytes) -> bytes:
    """A `Cookie` header's value without our cookies; empty when it had no others."""
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in _OURS]
    return value if len(kept) == len(pairs) else b";".join(kept).lstrip(b" \t")


def allowed_cookies(values: Sequence[bytes], domain: bytes) -> list[bytes]:
    """The `Set-Cookie` values of an app as its visitors may get them.

    Those that would set a cookie of our name are left out. Those that reach as far as the domain of the
    previews would be sent to other previews and to Stager itself; they are kept to the app's own host.

    Args:
        domain: of the previews, lower case; empty when there is none.
    """
    return [_narrowed(v, domain) for v in values if v.partition(b"=")[0].strip(b" \t") not in _OURS]


def access_cookie(token: str, seconds: int, *, secure: bool) -> str:
    """The value of the `Set-Cookie` header that gives a visitor this pass."""
    name = (SECURE_NAME if secure else PLAIN_NAME).decode()
    end = "; Secure" if secure else ""
    return f"{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{end}"


def _narrowed(value: bytes, domain: bytes) -> bytes:
    first, *attributes = value.split(b";")
    reaches = any(_reaches(attribute, domain) for attribute in attributes)
    if not reaches:
        return value
    return b";".join([first, *(a for a in attributes if _domain_in(a) is None)])


def _reaches(attribute: bytes, domain: bytes) -> bool:
    """Whether it is a Domain attribute with the previews' domain, or one above it."""
    told = _domain_in(attribute)
    if not told or not domain:
        return False
    wanted = told.lower().strip(b'."')
    return not wanted or wanted == domain or domain.endswith(b"." + wanted)


def _domain_in(attribute: bytes) -> bytes | None:
    """What a Domain attribute says, perhaps nothing; None for another attribute. In one pass: applications
    write these, and one that wrote many spaces would occupy the front."""
    name, _, value = attribute.partition(b"=")
    return value.strip(b" \t") if name.strip(b" \t").lower() == b"domain" else None
