"""The folder of one issuer's certificates, orders and account. All files are readable for their owner only,
and are replaced atomically, so that the process may be killed at any line.

    account.pem, account.json   the key and the URL of the account
    served/NAME.pem             the certificate with its chain, and its key; read by the front
    challenges/TOKEN            the answers of HTTP-01 challenges; read by the front
    orders/NAME.key, NAME.json  the key and the state of an order under way
    failures.json, issued.json  the last failed orders, and when new certificates were issued
    failed/NAME                 exists while the last order of this name has failed; read by the front
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from stager.domain.certificate import WEEK, Certificate, OrderFailure

_PRIVATE = 0o700
_WILDCARD = "_"
"""Stands for `*` in the name of a file. No host name has it."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order under way.

    Args:
        uri: its URL at the issuer.
        challenge: the record or token that was published for it, and its value; empty texts if none was.
    """

    uri: str
    challenge: tuple[str, str] = ("", "")


class CertificateFolder:
    """The stored certificates, orders, failures and the account of one issuer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._served = path / "served"
        self._challenges = path / "challenges"
        self._orders = path / "orders"
        self._failed = path / "failed"
        self._account = path / "account.json"
        self.account_key = path / "account.pem"
        self._cache: dict[Path, tuple[tuple[int, int], Certificate]] = {}

    def prepare(self) -> None:
        """Create the folders. Raises OSError."""
        for folder in (self.path, self._served, self._challenges, self._orders, self._failed):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)

    # Certificates

    def certificates(self) -> dict[str, Certificate]:
        """The validity of each certificate, by name. Files that aren't certificates are ignored."""
        found = {path: self._read(path) for path in self._served.glob("*.pem")}
        self._cache = {path: entry for path, entry in self._cache.items() if path in found}
        return {certificate.name: certificate for certificate in found.values() if certificate}

    def save_certificate(self, name: str, chain: bytes, key: bytes) -> None:
        """Replace the certificate of this name. Raises OSError."""
        write_private(self._served / f"{_stem(name)}.pem", chain.rstrip() + b"\n" + key)

    def remove_certificate(self, name: str) -> None:
        """Remove the certificate of this name, if there is one."""
        (self._served / f"{_stem(name)}.pem").unlink(missing_ok=True)

    def _read(self, path: Path) -> Certificate | None:
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_ino)
            known = self._cache.get(path)
            if known is None or known[0] != stamp:
                leaf = x509.load_pem_x509_certificate(path.read_bytes())
                certificate = Certificate(_name(path), leaf.not_valid_before_utc, leaf.not_valid_after_utc)
                known = self._cache[path] = stamp, certificate
        except (OSError, ValueError):
            return None
        return known[1]

    # Challenges, which the front answers

    def put_challenge(self, token: str, answer: str) -> None:
        """Store the answer to a challenge. Raises OSError."""
        write_private(self._challenges / token, answer.encode())

    def remove_challenge(self, token: str) -> None:
        """Remove the answer to a challenge, if there is one."""
        (self._challenges / token).unlink(missing_ok=True)

    # Orders under way

    def order(self, name: str) -> Order | None:
        """The order of this name that is under way."""
        wire = _read_json(self._orders / f"{_stem(name)}.json")
        return Order(str(wire["uri"]), (wire["challenge"][0], wire["challenge"][1])) if wire else None

    def ordered(self) -> list[str]:
        """The names with an order."""
        return [_name(path) for path in self._orders.glob("*.json")]

    def is_complete(self, name: str) -> bool:
        """Whether the certificate of the order is stored, so that only the order is left."""
        try:
            key = self.order_key(name).read_bytes()
            return (self._served / f"{_stem(name)}.pem").read_bytes().endswith(key)
        except OSError:
            return False

    def save_order(self, name: str, order: Order) -> None:
        """Replace the order of this name. Raises OSError."""
        write_private(self._orders / f"{_stem(name)}.json", json.dumps(asdict(order)).encode())

    def drop_order(self, name: str) -> None:
        """Forget the order of this name, and its key."""
        for suffix in (".json", ".key"):
            (self._orders / f"{_stem(name)}{suffix}").unlink(missing_ok=True)

    def order_key(self, name: str) -> Path:
        """The file of the key of the certificate that is ordered."""
        return self._orders / f"{_stem(name)}.key"

    # Failures and the number of new certificates

    def failures(self) -> dict[str, OrderFailure]:
        """The last failed order of each name."""
        wire = _read_json(self.path / "failures.json")
        return {
            name: OrderFailure(each["count"], _time(each["at"]), each["message"], each["hint"])
            for name, each in wire.items()
        }

    def note_failure(self, name: str, failure: OrderFailure | None) -> None:
        """Replace the last failed order of a name; None removes it. Raises OSError."""
        failures = self.failures()
        if failure is None and name not in failures:
            return
        failures.pop(name, None)
        if failure is None:
            (self._failed / _stem(name)).unlink(missing_ok=True)
        else:
            failures[name] = failure
            write_private(self._failed / _stem(name), b"")
        wire = {n: asdict(each) | {"at": each.at.timestamp()} for n, each in failures.items()}
        write_private(self.path / "failures.json", json.dumps(wire).encode())

    def issued(self, now: datetime) -> Sequence[datetime]:
        """When new certificates were issued in the last 7 days."""
        times = [_time(at) for at in _read_json(self.path / "issued.json").get("at", [])]
        return [at for at in times if now - at < WEEK]

    def note_issued(self, now: datetime) -> None:
        """Count a new certificate. Raises OSError."""
        times = [at.timestamp() for at in (*self.issued(now), now)]
        write_private(self.path / "issued.json", json.dumps({"at": times}).encode())

    # The account

    def account(self) -> str:
        """The URL of the account; empty if there is none yet."""
        return str(_read_json(self._account).get("uri", ""))

    def save_account(self, uri: str, terms: str) -> None:
        """Store the URL of the account and of the terms of service that were accepted. Raises OSError."""
        write_private(self._account, json.dumps({"uri": uri, "terms": terms}).encode())

    def drop_account(self) -> None:
        """Forget the account, but not its key."""
        self._account.unlink(missing_ok=True)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably, readable for its owner only. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _stem(name: str) -> str:
    return name.replace("*", _WILDCARD, 1)


def _name(path: Path) -> str:
    return path.stem.replace(_WILDCARD, "*", 1)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _read_json(path: Path) -> Mapping[str, Any]:
    """The content of a file; empty if it is missing or unreadable, such as after a full disk."""
    try:
        wire = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return wire if isinstance(wire, dict) else {}
