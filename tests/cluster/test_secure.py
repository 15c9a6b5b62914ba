"""A Redis that is reached by TLS, and lets in whom it knows."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import madang
from tests.cluster.redis import Redis, free_port
from tests.cluster.test_faults import Tells, members, talks
from tests.hosts import listening
from tests.interop.ways import until


class Secure(NamedTuple):
    """A Redis with TLS.

    Attributes:
        redis: the Redis; its own URL is the one without TLS.
        port: where it speaks TLS.
        ca: the certificate that has signed its own.
    """

    redis: Redis
    port: int
    ca: Path

    def url(self, login: str = "", scheme: str = "rediss", ca: Path | None = None) -> str:
        """Where it is."""
        return f"{scheme}://{login}127.0.0.1:{self.port}/0?ssl_ca_certs={ca or self.ca}"


def _certificate(folder: Path, name: str, *more: str) -> Path:
    """A certificate with its key beside it."""
    file = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-keyout", file.with_suffix(".key"), "-out", file, *more],
        check=True, capture_output=True,
    )  # fmt: skip
    return file


@pytest.fixture
def secure(redis: Redis, tmp_path: Path) -> Secure:
    """A Redis with a certificate for 127.0.0.1, and a user who may do all."""
    redis.kill()
    ca = _certificate(tmp_path, "authority")
    signed = "-addext", "subjectAltName=IP:127.0.0.1", "-CA", str(ca), "-CAkey", str(ca.with_suffix(".key"))
    own = _certificate(tmp_path, "redis", *signed, "-addext", "basicConstraints=critical,CA:FALSE")
    port = free_port()
    options = [
        "--tls-port", str(port), "--tls-cert-file", str(own), "--tls-key-file", str(own.with_suffix(".key")),
        "--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no",
    ]  # fmt: skip
    redis.start(*options)  # does not start if it was built without TLS: REDIS_SERVER names another
    redis.client.execute_command("ACL", "SETUSER", "chat", "on", ">s3cret", "allcommands", "allkeys", "allchannels")
    return Secure(redis, port, ca)


class Reached(Tells):
    """A Redis by its URL, as `Member` wants it."""

    def __init__(self, url: str, settings: Any) -> None:
        self.url = url
        self._settings = settings

    def adapter(self, **options: Any) -> Any:
        return self._settings(self.url, **options)


@pytest.mark.feature("S17", "S18")
@pytest.mark.parametrize("settings", [madang.RedisAdapter, madang.ShardedRedisAdapter], ids=["pubsub", "sharded"])
async def test_tls(secure: Secure, settings: Any):
    """Over TLS, with a user and a password, a cluster talks, also much at a time, and comes back after a break."""
    way = Reached(secure.url("chat:s3cret@"), settings)
    async with members(way) as (a, b):  # type: ignore[arg-type]
        await talks(a, b)
        for number in range(300):
            a.io.to("room").emit("tick", [number, "x" * 3000])
        await until(lambda: len(b.got) == 302)
        users = {client["user"] for client in secure.redis.client.client_list(_type="pubsub")}
        assert users == {"chat"}
        secure.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: bool(a.gaps_of("in") and b.gaps_of("in")))
        await a.well()
        await b.well()
        await talks(a, b)
    scheme = "rediss" if settings is madang.RedisAdapter else "rediss+sharded"
    async with madang.Emitter(secure.url("chat:s3cret@", scheme)) as emitter:
        emitter.emit("news")
        await emitter.drained()


@pytest.mark.feature("S17")
async def test_another_authority(secure: Secure, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A Redis whose certificate was signed by somebody else is not spoken to, and the log says why."""
    other = _certificate(tmp_path, "other")
    async with listening(madang.Server(adapter=secure.url("chat:s3cret@", ca=other))) as _:
        await until(lambda: "certificate verify failed" in caplog.text)
    emitter = madang.SyncEmitter(secure.url("chat:s3cret@", ca=other))
    with pytest.raises(madang.AdapterUnavailable, match="certificate verify failed"):
        emitter.emit("news")
    emitter.close()
    with pytest.raises(madang.OptionError, match="ssl_nonsense"):
        madang.Server(adapter=f"{secure.url()}&ssl_nonsense=1")


@pytest.mark.feature("S17")
async def test_who_is_not_let_in(secure: Secure, caplog: pytest.LogCaptureFixture):
    """A wrong password, and a channel that a user may not use, are said; what cannot leave counts as lost."""
    async with listening(madang.Server(adapter=secure.url("chat:wrong@"))):
        await until(lambda: "invalid username-password pair" in caplog.text)
    secure.redis.client.execute_command("ACL", "SETUSER", "chat", "resetchannels", "&elsewhere*")
    caplog.clear()
    io = madang.Server(adapter=secure.url("chat:s3cret@"))
    gaps: list[madang.AdapterGap] = []
    io.on("adapter_gap", gaps.append)
    async with listening(io):
        await until(lambda: io.adapter_health.publishing)
        io.emit("news")
        await until(lambda: io.adapter_health.lost == 1)
        assert "NOPERM" in gaps[0].reason
        await until(lambda: "NOPERM" in caplog.text)
        assert not io.adapter_health.receiving
