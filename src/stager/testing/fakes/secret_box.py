"""A fake secret box: it doesn't encrypt, but meets the contract."""

from __future__ import annotations

import base64
import binascii
import hashlib

from stager.domain.errors import Refused


class FakeSecretBox:
    """A `stager.ports.secret_box.SecretBox` without a key."""

    def close(self, secret: str) -> str:
        if not secret:
            return ""
        data = secret.encode()
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest() + data[::-1]).decode()

    def open(self, sealed: str) -> str:
        if not sealed:
            return ""
        try:
            data = base64.urlsafe_b64decode(sealed.encode())
        except (binascii.Error, ValueError):
            data = b""
        digest, secret = data[:32], data[32:][::-1]
        if hashlib.sha256(secret).digest() != digest:
            raise Refused("The seal is broken.", reason="seal-broken")
        return secret.decode()
