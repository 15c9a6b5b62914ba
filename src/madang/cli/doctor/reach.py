"""Name, port and TLS: whether the server can be reached at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import replace
from typing import Any, Final

from ..showing import name
from .findings import Findings
from .wire import NoAnswer, Site, let_go

_SOON: Final = 14.0
"""Days before its end at which a certificate is worth a note."""

_DAY: Final = 86400.0


async def reach(site: Site, findings: Findings) -> Site | None:
    """See that the name is known, the port open, and the certificate good; None if nobody is there.

    A certificate that is not good is told of, and not looked at any more, so that the rest can be examined.
    """
    if not await _find_address(site, findings):
        return None
    plain = replace(site, tls=None)
    try:
        began = time.monotonic()
        _, writer = await plain.open()
        took = time.monotonic() - began
        await let_go(writer)
    except NoAnswer as error:
        advice = (
            "Is the server running, does it listen on this port and not on 127.0.0.1 alone, does a firewall let it in?"
        )
        findings.failed("tcp", f"{site.address.netloc}: {error}", advice)
        return None
    findings.ok("tcp", f"port {site.address.port} is open ({took * 1000:.0f} ms)")
    return site if site.tls is None else await _greet(site, site.tls, findings)


async def _find_address(site: Site, findings: Findings) -> bool:
    host = site.address.host
    try:
        async with asyncio.timeout(site.timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, site.address.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        findings.failed("dns", f"nobody says within {site.timeout:g} s where {name(host)} is", "Is the network there?")
        return False
    except (OSError, UnicodeError) as error:
        findings.failed("dns", f"there is no address for {name(host)} ({name(error)})", "Is the name written right?")
        return False
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    findings.ok("dns", f"{name(host)} is {', '.join(addresses[:4])}")
    return True


async def _greet(site: Site, tls: ssl.SSLContext, findings: Findings) -> Site | None:
    try:
        certificate = await _certificate(site)
    except NoAnswer as error:
        cause = error.__cause__
        if not isinstance(cause, ssl.SSLCertVerificationError):
            wrong = isinstance(cause, ssl.SSLError) and "WRONG_VERSION_NUMBER" in str(cause)
            advice = "It speaks no TLS on this port: begin the URL with http://, or give the proxy its certificate."
            said = advice if wrong else "Protocol versions, or a client's certificate that it wants (--cert, --key)."
            findings.failed("tls", f"no TLS: {error}", said)
            return None
        findings.failed("tls", await _fault(site, cause), *_mend(cause))
        findings.meanwhile("(from here on the certificate is not looked at)")
        return replace(site, tls=_blind(tls))
    if tls.verify_mode == ssl.CERT_NONE:
        findings.note("tls", "TLS works; the certificate was not looked at (--insecure)")
    else:
        _tell_expiry(certificate, findings)
    return site


async def _certificate(site: Site) -> dict[str, Any]:
    _, writer = await site.open()
    certificate: dict[str, Any] = writer.get_extra_info("peercert") or {}
    await let_go(writer)
    return certificate


def _tell_expiry(certificate: dict[str, Any], findings: Findings) -> None:
    until = str(certificate.get("notAfter", ""))
    if not until:
        findings.ok("tls", "the certificate is trusted and has the right name")
        return
    days = (ssl.cert_time_to_seconds(until) - time.time()) / _DAY
    said = f"the certificate is trusted, has the right name, and is good until {until} ({days:.0f} days)"
    if days < _SOON:
        findings.note("tls", said, "Renew it, and see whether whatever renews it by itself still runs.")
    else:
        findings.ok("tls", said)


async def _fault(site: Site, error: ssl.SSLCertVerificationError) -> str:
    said = f"clients will refuse the certificate: {error.verify_message}"
    if error.verify_code != _WRONG_NAME or site.tls is None:
        return said
    names = await _names(site, site.tls)
    return f"{said}; it is for {', '.join(names[:6])}" if names else said


async def _names(site: Site, tls: ssl.SSLContext) -> list[str]:
    """The names in a certificate that is for somebody else."""
    checks = tls.check_hostname
    tls.check_hostname = False
    try:
        certificate = await _certificate(site)
    except NoAnswer:
        return []
    finally:
        tls.check_hostname = checks
    return [name(value) for _, value in certificate.get("subjectAltName", ())]


_WRONG_NAME: Final = 62
_WRONG_ADDRESS: Final = 64
_EXPIRED: Final = 10


def _mend(error: ssl.SSLCertVerificationError) -> tuple[str, ...]:
    if error.verify_code in (_WRONG_NAME, _WRONG_ADDRESS):
        return (
            "Use a name that it is for, or get a certificate for this one; nginx: server_name and ssl_certificate.",
        )
    if error.verify_code == _EXPIRED:
        return ("Renew it, and let the proxy read it anew: nginx -s reload.",)
    return (
        "A public one: serve the whole chain (nginx: ssl_certificate fullchain.pem; HAProxy: all in one crt file).",
        "One of your own authority: --cacert FILE; clients need it too.",
    )


def _blind(tls: ssl.SSLContext) -> ssl.SSLContext:
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls
