"""Cookies in forwarded messages: apps never receive the front's own cookies, and can't set any beyond their
host.

Pure. All other cookies are forwarded byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence

PLAIN_NAME, SECURE_NAME = b"stager-access", b"__Host-stager-access"
"""The names of the access cookie, over http and over https. Browsers accept the second only from this host
itself and over https (RFC 6265bis, section 4.1.3.2)."""
_ACCESS_COOKIES = frozenset({PLAIN_NAME, SECURE_NAME})
_MAX_TOKENS = 8


def access_tokens_in(values: Sequence[bytes], name: bytes) -> list[str]:
    """Return the values of the cookies of this name. There may be several: another host may have set one that
    is also sent here, and it must not hide the valid one."""
    tokens = []
    for value in values:
        for pair in value.split(b";"):
            key, _, text = pair.partition(b"=")
            if key.strip(b" \t") == name:
                tokens.append(text.strip(b" \t").decode("latin-1"))
    return tokens[:_MAX_TOKENS]


def without_access_cookies(value: bytes) -> bytes:
    """Remove the access cookies from a `Cookie` header's value; empty if there are no others."""
    pairs = value.split(b";")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].strip(b" \t") not in _ACCESS_COOKIES]
    return value if len(kept) == len(pairs) else b";".join(kept).lstrip(b" \t")


def allowed_cookies(values: Sequence[bytes], domain: bytes) -> list[bytes]:
    """Filter the `Set-Cookie` values of an app.

    Values that would set an access cookie are removed. Cookies for the whole domain of the previews would be
    sent to other previews and to Stager itself; they are restricted to the app's own host.

    Args:
        domain: the domain of the previews, lower case; empty if there is none.
    """
    return [
        _restricted(v, domain) for v in values if v.partition(b"=")[0].strip(b" \t") not in _ACCESS_COOKIES
    ]


def access_cookie(token: str, seconds: int, *, secure: bool) -> str:
    """Return the value of the `Set-Cookie` header for an access token that is valid for so many seconds."""
    name = (SECURE_NAME if secure else PLAIN_NAME).decode()
    end = "; Secure" if secure else ""
    return f"{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{end}"


def _restricted(value: bytes, domain: bytes) -> bytes:
    first, *attributes = value.split(b";")
    if not any(_covers_domain(attribute, domain) for attribute in attributes):
        return value
    return b";".join([first, *(a for a in attributes if _domain_in(a) is None)])


def _covers_domain(attribute: bytes, domain: bytes) -> bool:
    """Whether it is a Domain attribute with the previews' domain or a parent of it."""
    value = _domain_in(attribute)
    if not value or not domain:
        return False
    name = value.lower().strip(b'."')
    return not name or name == domain or domain.endswith(b"." + name)


def _domain_in(attribute: bytes) -> bytes | None:
    """Return the value of a Domain attribute, which may be empty; None for another attribute. In linear time:
    an application could send many spaces to keep the front busy."""
    name, _, value = attribute.partition(b"=")
    return value.strip(b" \t") if name.strip(b" \t").lower() == b"domain" else None
