"""The files for Docker and Kubernetes: valid by their schemas, and of one mind with each other, the app and madang."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import uvicorn
import yaml
from compose_spec import PyCompose

import madang
from madang.cli.main import command_line
from madang.hosting.native import GRACE, load
from tests.deploy.conftest import DEPLOY

KUBERNETES: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
BALANCERS: Final = ("nginx.conf", "nginx-cluster.conf", "haproxy.cfg")
PORT: Final = 3000


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


@cache
def resources() -> dict[str, dict[str, Any]]:
    """What Kubernetes is told, by ``kind/name``."""
    every = [document for path in KUBERNETES for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in every}


@cache
def compose() -> dict[str, Any]:
    return yaml.safe_load(read("compose.yaml"))


@cache
def dockerfile() -> dict[str, str]:
    """The instructions of the Dockerfile; of several of a kind the last."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile").replace("\\\n", ""), flags=re.MULTILINE)
    return dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())


def pod() -> dict[str, Any]:
    return resources()["Deployment/madang"]["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return only


@cache
def app() -> Any:
    """The app of the example, without a Redis."""
    spec = importlib.util.spec_from_file_location("deployed", DEPLOY / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands() -> dict[str, list[str]]:
    """How madang is started, by each file that says so."""
    return {"Dockerfile": json.loads(dockerfile()["CMD"]), "deployment.yaml": container()["args"]}


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)?", text).groups()  # type: ignore[union-attr]
    return int(number) * (60 if unit == "m" else 1)


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes_accepts(path: Path):
    """Each resource fits the schema of its kind, with no field that the schema does not have."""
    for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(resource, "1.34", strict=True)


def test_compose_accepts():
    """The Compose file is one by the Compose specification, and the services that it names are there."""
    parsed = PyCompose.from_yaml(yaml.safe_dump(compose()))
    assert set(parsed.service_names()) == {"redis", "madang-1", "madang-2", "nginx"}
    with pytest.raises(ValueError, match="depends_in"):
        PyCompose.from_yaml(yaml.safe_dump(compose()).replace("depends_on:", "depends_in:", 1))
    for service in compose()["services"].values():
        assert set(service.get("depends_on", ())) <= set(compose()["services"])
        for volume in service.get("volumes", ()):
            assert (DEPLOY / volume.split(":")[0]).is_file()


@pytest.mark.parametrize("where", ["Dockerfile", "deployment.yaml"])
def test_madang_understands_its_command(where: str, monkeypatch: pytest.MonkeyPatch):
    """`madang run` takes the command, finds the app, and believes proxies of private networks, but not everybody."""
    program, *arguments = commands()[where]
    assert program == "madang"
    options = command_line().parse_args(arguments)
    assert (options.host, options.port) == ("0.0.0.0", PORT)
    monkeypatch.syspath_prepend(DEPLOY)
    assert isinstance(load(options.target), madang.ASGIApp)
    for network in options.forwarded_allow_ips.split(","):
        assert ipaddress.ip_network(network).is_private


def test_all_copies_of_the_command_are_alike():
    """Docker and Kubernetes start madang with the same options."""
    first, second = (command_line().parse_args(arguments[1:]) for arguments in commands().values())
    assert first == second


def test_the_image_has_what_it_needs():
    """The Dockerfile copies the files of the app, exposes its port, and installs madang with Redis."""
    *copied, _ = shlex.split(dockerfile()["COPY"])
    assert {"app.py", app().PAGE and "index.html"} == set(copied)
    assert all((DEPLOY / name).is_file() for name in copied)
    assert int(dockerfile()["EXPOSE"]) == PORT
    assert "'madang[redis]'" in read("Dockerfile")
    assert int(dockerfile()["USER"]) == pod()["securityContext"]["runAsUser"]


def test_one_port_everywhere():
    """Whoever calls madang calls the port that it listens on."""
    for name in ("nginx-cluster.conf", "haproxy.cfg"):
        assert re.findall(r"madang-\d:(\d+)", read(name)) == [str(PORT)] * 2
    assert re.findall(r"server 127\.0\.0\.1:(\d+)", read("nginx.conf")) == [str(PORT)]
    (port,) = container()["ports"]
    assert port["containerPort"] == PORT
    (service_port,) = resources()["Service/madang"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"]["port"] == port["name"]
    (rule,) = resources()["Ingress/madang"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "madang", "port": {"name": service_port["name"]}}
    checked = re.findall(r"http://127\.0\.0\.1:(\d+)", str(compose()["services"]["madang-1"]["healthcheck"]))
    assert checked == [str(PORT)]


def test_only_known_variables_are_set():
    """The environment that the files set is the one that the app reads, and names the Redis that they start."""
    read_by_app = set(re.findall(r'os\.environ\.get\("(\w+)"\)', read("app.py")))
    services = compose()["services"]
    kubernetes = {variable["name"]: variable.get("value") for variable in container()["env"]}
    for environment in (services["madang-1"]["environment"], services["madang-2"]["environment"], kubernetes):
        assert set(environment) == read_by_app
    assert urlsplit(services["madang-1"]["environment"]["REDIS_URL"]).hostname in services
    url = urlsplit(kubernetes["REDIS_URL"])
    (redis_port,) = resources()[f"Service/{url.hostname}"]["spec"]["ports"]
    (redis,) = resources()[f"Deployment/{url.hostname}"]["spec"]["template"]["spec"]["containers"]
    assert url.port == redis_port["port"] == redis["ports"][0]["containerPort"]
    assert redis_port["targetPort"] == redis["ports"][0]["name"]


def test_probes_ask_for_what_is_there():
    """The paths that balancers and probes ask for are answered by the app, and ready means that Redis was reached."""
    web = app().Web()
    probes = {container()[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    asked = (
        probes
        | set(re.findall(r"httpchk GET (\S+)", read("haproxy.cfg")))
        | set(re.findall(r"127\.0\.0\.1:3000(/\w+)", read("compose.yaml")))
    )
    assert asked == {"/ready", "/alive"}
    assert [web.answer(path)[0] for path in ("/", "/ready", "/alive", "/other")] == [200, 200, 200, 404]
    away = madang.Server(adapter="redis://127.0.0.1:1/0")  # begins to connect when it is served, which it is not
    module, here = app(), app().io
    try:
        module.io = away
        assert module.Web().answer("/ready")[0] == 503
        assert web.answer("/ready")[0] == 200  # since it was ready before
    finally:
        module.io = here


def test_there_is_time_to_drain():
    """A container is killed only after it has sent its clients away and ended its open requests."""
    for arguments in commands().values():
        drain = command_line().parse_args(arguments[1:]).drain
        assert drain > 0
        pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pod()["terminationGracePeriodSeconds"] >= pause + drain + GRACE
        for name in ("madang-1", "madang-2"):
            assert seconds(compose()["services"][name]["stop_grace_period"]) >= drain + GRACE


@pytest.mark.parametrize("name", BALANCERS)
def test_balancers_wait_long_enough(name: str):
    """No balancer gives up on a connection on which a heartbeat is still to come, or sends less than a server takes."""
    options, text = madang.Server().engine.options, read(name)
    pattern = r"proxy_(?:read|send)_timeout (\w+)" if "nginx" in name else r"timeout (?:client|server|tunnel) +(\w+)"
    timeouts = [seconds(found) for found in re.findall(pattern, text)]
    assert len(timeouts) >= 2
    assert min(timeouts) > options.ping_interval
    if "nginx" in name:
        assert seconds(re.findall(r"\bkeepalive_timeout (\w+)", text)[0]) < uvicorn.Config(None).timeout_keep_alive  # type: ignore[arg-type]
        assert re.findall(r"client_max_body_size (\d+)m", text) == ["1"]
        assert options.max_http_buffer_size <= 2**20
    annotations = resources()["Ingress/madang"]["metadata"]["annotations"]
    for kind in ("read", "send"):
        assert int(annotations[f"nginx.ingress.kubernetes.io/proxy-{kind}-timeout"]) > options.ping_interval


def test_kubernetes_names_fit():
    """Service, budget and autoscaler mean the pods of the deployment."""
    deployment = resources()["Deployment/madang"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert resources()["Service/madang"]["spec"]["selector"].items() <= labels.items()
    assert resources()["PodDisruptionBudget/madang"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    target = resources()["HorizontalPodAutoscaler/madang"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (deployment["kind"], deployment["metadata"]["name"])
    assert deployment["spec"]["replicas"] >= resources()["HorizontalPodAutoscaler/madang"]["spec"]["minReplicas"] >= 2
