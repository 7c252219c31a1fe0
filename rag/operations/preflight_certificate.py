"""Preflight: the proxy's certificate and its key."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from rag.errors import ConfigurationError
from rag.operations.findings import Finding
from rag.proxy.rendering import require_usable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from rag.operations.preflight import Plan


def look_at_certificate(plan: Plan) -> Iterator[Finding]:
    """Missing, not yet or no longer valid, about to end, for other names, with another key, without its chain."""
    if not plan.starts("proxy"):
        return
    proxy = plan.settings.proxy
    require_usable(plan.settings)
    chain = _chain(plan.settings.root / proxy.certificate)
    faults = list(_faults(plan, chain))
    for text in faults:
        yield Finding("certificate", "wrong", text)
    leaf = chain[0]
    left = (leaf.not_valid_after_utc - datetime.now(UTC)).days
    if 0 <= left < plan.settings.preflight.certificate_days:
        yield Finding(
            "certificate", "note", f"it ends in {left} days, on {leaf.not_valid_after_utc:%d %b %Y}; renew it"
        )
    if len(chain) == 1 and leaf.issuer != leaf.subject:
        text = f"{proxy.certificate} holds no chain, so some callers cannot check it; append its issuer's certificates"
        yield Finding("certificate", "note", text)
    if not faults:
        text = f"for {proxy.api_host} and {proxy.ui_host}, until {leaf.not_valid_after_utc:%d %b %Y}"
        yield Finding("certificate", "ok", text)


def _faults(plan: Plan, chain: list[x509.Certificate]) -> Iterator[str]:
    proxy = plan.settings.proxy
    leaf, now = chain[0], datetime.now(UTC)
    if leaf.not_valid_after_utc < now:
        yield f"it ended on {leaf.not_valid_after_utc:%d %b %Y}; renew it, the proxy reads a new one by itself"
    if leaf.not_valid_before_utc > now:
        yield f"it is valid only from {leaf.not_valid_before_utc:%d %b %Y} on; look at this machine's clock"
    names = _names(leaf)
    for host in (proxy.api_host, proxy.ui_host):
        if not any(_covers(name, host) for name in names):
            yield f"it is for {', '.join(names) or 'no name'}, and not for {host}; have one issued for both names"
    if _public(_key(plan.settings.root / proxy.certificate_key)) != _public(leaf.public_key()):
        yield f"{proxy.certificate_key} is the key of another certificate; take the one that was made for this"
    for below, above in itertools.pairwise(chain):
        if below.issuer != above.subject:
            yield "its chain is not in order; first the certificate, then its issuer's, then that one's issuer's"


def _chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{path} is no certificate in PEM form ({error}); correct proxy.certificate"
        ) from error


def _key(path: Path) -> PublicKeyTypes:
    try:
        return load_pem_private_key(path.read_bytes(), password=None).public_key()
    except TypeError as error:
        raise ConfigurationError(
            f"{path} wants a password, which nobody types at a start; store the key without"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is no key in PEM form ({error}); correct proxy.certificate_key") from error


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return []
    names = extension.get_values_for_type(x509.DNSName) if isinstance(extension, x509.SubjectAlternativeName) else []
    return [name.lower() for name in names]


def _covers(name: str, host: str) -> bool:
    """RFC 6125: a star stands for one label, the first."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
