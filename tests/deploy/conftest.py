"""The examples of deployment, run for real: two servers, their Redis, and balancers with the files that are shipped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Literal, Self

import httpx
import pytest

from tests.cluster.conftest import shared_redis
from tests.cluster.redis import Redis
from tests.hosts import ROOT, free_port
from tests.server.conftest import driver, js

__all__ = ["driver", "js", "shared_redis"]

DEPLOY: Final = ROOT / "examples" / "deploy"
START_WITHIN: Final = 40.0

Balanced = Literal["nginx.conf", "nginx-cluster.conf", "haproxy.cfg"]


def find_server(name: str) -> str:
    """The command of nginx or HAProxy; a test that wants it fails where there is none."""
    script = ROOT / "scripts" / "find_server.sh"
    found = subprocess.run([script, name], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(found.stderr, pytrace=False)
    return found.stdout.strip()


class Program:
    """A process that answers at a URL, until the context is left."""

    def __init__(self, command: list[str], url: str, log: Path, **environment: str) -> None:
        self._url = url
        self._log = log
        with log.open("wb") as into:
            self._process = subprocess.Popen(
                command, cwd=DEPLOY, env={**os.environ, **environment}, stdout=into, stderr=subprocess.STDOUT
            )

    def answers(self) -> None:
        """Wait until it answers with 200."""
        deadline = time.monotonic() + START_WITHIN
        while not _answers(self._url):
            said = self._log.read_text(encoding="utf-8")
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, f"nothing answers at {self._url}: {said}"
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


class Fleet:
    """What may stand behind a balancer: `alone`, and the two servers that share a Redis, by name; all have a port."""

    def __init__(self, alone: int, cluster: dict[str, int]) -> None:
        self.alone = alone
        self.cluster = cluster


@pytest.fixture(scope="session")
def fleet(shared_redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The example's servers, each a process that `madang run` serves."""
    folder = tmp_path_factory.mktemp("fleet")
    names = ("alone", "madang-1", "madang-2")
    ports = {name: free_port() for name in names}
    programs: list[Program] = []
    with ExitStack() as stack:
        for name, port in ports.items():
            command = [sys.executable, "-m", "madang", "run", "app:app", "--port", str(port)]
            environment = {"SERVER_NAME": name, "REDIS_URL": "" if name == "alone" else shared_redis.url}
            url, log = f"http://127.0.0.1:{port}/ready", folder / f"{name}.log"
            programs.append(stack.enter_context(Program(command, url, log, **environment)))
        for program in programs:
            program.answers()
        yield Fleet(ports.pop("alone"), ports)


def _nginx(text: str, port: int, folder: Path) -> list[str]:
    places = "".join(f"    {kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "http {\n", f"http {{\n    access_log off;\n{places}"
    )
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    settings = f"daemon off; pid {folder}/nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    return [find_server("nginx"), "-p", str(folder), "-c", str(file), "-e", "stderr", "-g", settings]


def _haproxy(text: str, port: int, folder: Path) -> list[str]:
    text = text.replace("bind :80", f"bind 127.0.0.1:{port}").replace("maxconn 100000", "maxconn 1000")
    file = folder / "haproxy.cfg"
    file.write_text(text, encoding="utf-8")
    return [find_server("haproxy"), "-db", "-f", str(file)]


@pytest.fixture(scope="session")
def balancers(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Balanced], str]]:
    """The URL of a balancer that runs with a file of the example; only ports and addresses in it are exchanged."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def start(name: Balanced) -> str:
            if name not in started:
                folder, port = tmp_path_factory.mktemp("balancer"), free_port()
                text = (DEPLOY / name).read_text(encoding="utf-8")
                for known, at in (("127.0.0.1:3000", fleet.alone), *fleet.cluster.items()):
                    text = text.replace(known if ":" in known else f"{known}:3000", f"127.0.0.1:{at}")
                command = (_haproxy if name.endswith(".cfg") else _nginx)(text, port, folder)
                url = f"http://127.0.0.1:{port}"
                stack.enter_context(Program(command, f"{url}/ready", folder / "log")).answers()
                started[name] = url
            return started[name]

        yield start
