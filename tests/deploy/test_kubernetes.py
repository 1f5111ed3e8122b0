"""The manifests: what Kubernetes says of them, and that they agree with each other, the image and the settings."""

from __future__ import annotations

import json
import re
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import bulksend
from bulksend.config import Settings, load_settings
from bulksend.simulator import SimulatorProcess
from bulksend.worker.consuming import LAST_S as EVENTS_LAST_S
from bulksend.worker.event_setup import default_name
from bulksend.worker.process import LAST_S
from tests.deploy.dockerfile import stages
from tests.worker_process import WITHIN_S, WorkerProcess, until

TOKEN = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
SCHEMA = Path(__file__).parent / "servicemonitor.schema.json"
COMPONENTS = ("one-click", "events-apart")
CUSTOM = {"kustomization.yaml", "servicemonitor.yaml", *(f"{name}/kustomization.yaml" for name in COMPONENTS)}
"""Kinds that are not Kubernetes' own."""
MANIFESTS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml"))
SECRETS = ("secrets.example.yaml", "one-click/secrets.example.yaml")
MAKERS = ("bulksend-worker", "bulksend-migrate", "bulksend-events", "with one-click")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def one(name: str, kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents(name) if document["kind"] == kind)
    return found


def patched(component: str) -> dict[str, Any]:
    """The workers' deployment as a component leaves it: each of its patches adds one thing to the end of a list."""
    (made,) = documents(f"{component}/kustomization.yaml")
    deployment = one("worker.yaml", "Deployment")
    for patch in made["patches"]:
        assert patch["target"] == {"kind": "Deployment", "name": deployment["metadata"]["name"]}
        for step in yaml.safe_load(patch["patch"]):
            *path, end = step["path"].split("/")[1:]
            assert (step["op"], end) == ("add", "-")
            place: Any = deployment
            for part in path:
                place = place[int(part) if part.isdecimal() else part]
            place.append(step["value"])
    return deployment


def pods() -> dict[str, dict[str, Any]]:
    """The specs of all pods, by the name of what makes them."""
    makers = [
        one("worker.yaml", "Deployment"),
        one("migrate.yaml", "Job"),
        one("events-apart/events.yaml", "Deployment"),
    ]
    found = {maker["metadata"]["name"]: maker["spec"]["template"] for maker in makers}
    return found | {f"with {name}": patched(name)["spec"]["template"] for name in COMPONENTS}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return dict(found)


def worker() -> dict[str, Any]:
    return pods()["bulksend-worker"]


def settings_of(pod: dict[str, Any]) -> Settings:
    """As bulksend reads them in that pod: the file of the config map, and its variables."""
    variables = {variable["name"]: variable.get("value", "x") for variable in container(pod)["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert variables.pop("BULKSEND_CONFIG") == f"{mounts['config']}/config.toml"
    return load_settings(FOLDER / "config.toml", variables, {})


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name not in CUSTOM])
def test_kubernetes_knows_every_field(name: str) -> None:
    done = subprocess.run(
        ["kubernetes-validate", "--strict", str(FOLDER / name)], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count(" passed for resource ") == len(documents(name)), said


@pytest.mark.parametrize("component", COMPONENTS)
def test_kubernetes_knows_every_field_that_a_component_adds(tmp_path: Path, component: str) -> None:
    (tmp_path / "worker.yaml").write_text(yaml.safe_dump(patched(component)), "utf-8")
    command = ["kubernetes-validate", "--strict", str(tmp_path / "worker.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_monitor_has_its_shape_and_finds_the_service() -> None:
    command = ["check-jsonschema", "--schemafile", str(SCHEMA), str(FOLDER / "servicemonitor.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (monitor,) = documents("servicemonitor.yaml")
    (service,) = documents("service.yaml")
    selector = monitor["spec"]["selector"]
    (expression,) = selector["matchExpressions"]
    (endpoint,) = monitor["spec"]["endpoints"]
    for found in (service, one("events-apart/events.yaml", "Service")):
        labels = found["metadata"]["labels"]
        assert selector["matchLabels"].items() <= labels.items()
        assert expression["operator"] == "In"
        assert labels[expression["key"]] in expression["values"]
        assert labels[monitor["spec"]["jobLabel"]] == "bulksend", "the job that the alerts know"
        assert endpoint["port"] in {port["name"] for port in found["spec"]["ports"]}
    public = one("one-click/public.yaml", "Service")["metadata"]["labels"]
    assert public[expression["key"]] not in expression["values"], "strangers' port has no series"
    assert endpoint["authorization"]["credentials"] == {"name": "bulksend-token", "key": "token"}


def test_the_alerts_become_an_object_of_the_operator() -> None:
    said = subprocess.run([str(FOLDER / "prometheusrule.sh")], capture_output=True, text=True, check=True).stdout
    made = yaml.safe_load(said)
    assert (made["kind"], made["metadata"]["namespace"]) == ("PrometheusRule", "bulksend")
    assert made["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/bulksend.rules.yml").read_text("utf-8"))


def test_every_manifest_is_applied_or_is_said_to_be_optional() -> None:
    (kustomization,) = documents("kustomization.yaml")
    text = (FOLDER / "kustomization.yaml").read_text("utf-8")
    optional = re.findall(r"(?m)^#  - (\S+)$", text)
    assert optional == ["servicemonitor.yaml", *COMPONENTS]
    apart = {"kustomization.yaml", "secrets.example.yaml"}
    mine = [name for name in MANIFESTS if "/" not in name]
    assert sorted([*kustomization["resources"], "servicemonitor.yaml", *apart]) == mine
    # Without the #, it is what kustomize takes.
    whole = yaml.safe_load(re.sub(r"(?m)^#(components:|  - )", r"\1", text))
    assert whole["components"] == list(COMPONENTS)
    for name in COMPONENTS:
        (component,) = documents(f"{name}/kustomization.yaml")
        assert component["kind"] == "Component"
        theirs = [f"{name}/{resource}" for resource in component["resources"]]
        examples = [secret for secret in SECRETS if secret.startswith(f"{name}/")]
        found = [manifest for manifest in MANIFESTS if manifest.startswith(f"{name}/")]
        assert sorted([*theirs, *examples, f"{name}/kustomization.yaml"]) == found
    assert kustomization["configMapGenerator"] == [{"name": "bulksend-config", "files": ["config.toml"]}]
    (image,) = kustomization["images"]
    assert image["newTag"] == bulksend.__version__
    assert {container(pod)["image"] for pod in pods().values()} == {image["name"]}
    (namespace,) = documents("namespace.yaml")
    assert kustomization["namespace"] == namespace["metadata"]["name"]


@pytest.mark.parametrize("maker", MAKERS)
def test_pods_are_restricted(maker: str) -> None:
    pod = pods()[maker]
    user = int(stages()[1].only("USER").rest.split(":")[0])
    secured = pod["spec"]["securityContext"]
    assert (secured["runAsNonRoot"], secured["runAsUser"], secured["runAsGroup"]) == (True, user, user)
    assert secured["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    resources = container(pod)["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "memory" in resources["limits"]
    for volume in pod["spec"]["volumes"]:
        assert volume.get("emptyDir", {"sizeLimit": ""}).keys() == {"sizeLimit"}, "every one of them is bounded"
    mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert all(mounts[name]["readOnly"] for name in {"config", "token", "unsubscribe"} & mounts.keys())
    assert mounts["tmp"]["mountPath"] == "/tmp"  # noqa: S108  what Python takes for scratch


@pytest.mark.parametrize("maker", MAKERS)
def test_bulksend_takes_the_settings_and_links_of_services_would_be_refused(maker: str) -> None:
    settings = settings_of(pods()[maker])
    assert settings.store is not None
    (queue,) = settings.events.queues or ()
    assert urlsplit(queue).path == f"/123456789012/{default_name('bulksend')}", "as setup makes it"
    with pytest.raises(bulksend.BulksendError, match="BULKSEND_WORKER_SERVICE_HOST"):
        load_settings(FOLDER / "config.toml", {"BULKSEND_WORKER_SERVICE_HOST": "10.0.0.1"}, {})
    assert container(pods()[maker])["args"] == {
        "bulksend-migrate": ["migrate"],
        "bulksend-events": ["events", "consume", "--listen", settings.http.listen],
    }.get(maker, ["worker"])


def test_events_apart_are_taken_by_their_own_pods_and_by_no_worker() -> None:
    assert settings_of(pods()["with events-apart"]).events.apart
    assert not settings_of(worker()).events.apart
    pod = pods()["bulksend-events"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > EVENTS_LAST_S
    # It is asked, and has the token, where a worker is and has it; and the lists of what it settles have a place.
    assert settings_of(pod).http == settings_of(worker()).http
    assert container(pod)["ports"] == container(worker())["ports"]
    for name in ("startupProbe", "livenessProbe"):
        assert container(pod)[name] == container(worker())[name]
    assert "readinessProbe" not in container(pod), "nobody asks anything of it"
    assert container(pod)["env"] == container(worker())["env"]
    assert container(pod)["volumeMounts"] == container(worker())["volumeMounts"]
    assert pod["spec"]["volumes"] == worker()["spec"]["volumes"]
    labels = pod["metadata"]["labels"]
    deployment, service = (one("events-apart/events.yaml", kind) for kind in ("Deployment", "Service"))
    spreads = (spread["labelSelector"]["matchLabels"] for spread in pod["spec"]["topologySpreadConstraints"])
    assert [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"], *spreads] == [labels] * 3
    assert labels != worker()["metadata"]["labels"]
    assert pod["spec"]["serviceAccountName"] == worker()["spec"]["serviceAccountName"]


def test_one_click_opens_the_public_listener_to_the_ingress_and_nothing_else() -> None:
    pod = pods()["with one-click"]
    settings = settings_of(pod)
    host, _, port = settings.http.public_listen.rpartition(":")
    assert (host, port) == ("0.0.0.0", "8080")  # noqa: S104  of the pod
    assert settings_of(worker()).http.public_listen == "off"
    assert container(pod)["ports"][1:] == [{"name": "public", "containerPort": int(port)}]
    service, ingress, policy = (one("one-click/public.yaml", kind) for kind in ("Service", "Ingress", "NetworkPolicy"))
    assert service["spec"]["selector"] == pod["metadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
    assert service["spec"]["publishNotReadyAddresses"] is True, "people leave while SES has disabled sending, too"
    assert service["spec"]["ports"] == [{"name": "public", "port": int(port), "targetPort": "public"}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/u/", "Prefix")
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": {"name": "public"}}
    assert [one["hosts"] for one in ingress["spec"]["tls"]] == [[rule["host"]]], "by HTTPS alone"
    (let_in,) = policy["spec"]["ingress"]
    assert ([one["port"] for one in let_in["ports"]], policy["spec"]["policyTypes"]) == ([int(port)], ["Ingress"])
    assert all(source.keys() == {"namespaceSelector"} for source in let_in["from"])
    # The keys, as the token: the group's, that of fsGroup; bulksend refuses what others may read.
    keys = Path(settings.unsubscribe.key_file or "")
    mount = next(mount for mount in container(pod)["volumeMounts"] if mount["name"] == "unsubscribe")
    assert str(keys.parent) == mount["mountPath"]
    volume = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "unsubscribe")
    assert volume["secret"] == {"secretName": "bulksend-unsubscribe", "defaultMode": 0o440}


def test_ports_and_the_token_are_where_the_worker_has_them() -> None:
    settings = settings_of(worker())
    host, _, port = settings.http.listen.rpartition(":")
    assert host == "0.0.0.0"  # noqa: S104  of the pod
    assert container(worker())["ports"] == [{"name": "http", "containerPort": int(port)}]
    (service,) = documents("service.yaml")
    assert service["spec"]["ports"] == [{"name": "http", "port": int(port), "targetPort": "http"}]
    (policy,) = documents("networkpolicy.yaml")
    (let_in,) = policy["spec"]["ingress"]
    assert [one["port"] for one in let_in["ports"]] == [int(port)]
    database = urlsplit(settings.store or "")
    let_out = {one["port"] for rule in policy["spec"]["egress"] for one in rule["ports"]}
    assert let_out == {53, 443, database.port}
    assert "sslmode=verify-full" in database.query
    assert database.password is None
    token = Path(settings.http.token_file or "")
    mount = next(mount for mount in container(worker())["volumeMounts"] if mount["name"] == "token")
    assert str(token.parent) == mount["mountPath"]
    volume = next(volume for volume in worker()["spec"]["volumes"] if volume["name"] == "token")
    # Read by the group, that of fsGroup; the worker refuses a token that others may read.
    assert volume["secret"] == {"secretName": "bulksend-token", "defaultMode": 0o440}
    assert worker()["spec"]["securityContext"]["fsGroup"] == worker()["spec"]["securityContext"]["runAsGroup"]


def test_secrets_are_named_and_have_no_values() -> None:
    kept = {secret["metadata"]["name"]: secret["stringData"] for name in SECRETS for secret in documents(name)}
    assert {value for secret in kept.values() for value in secret.values()} == {""}
    settings = settings_of(pods()["with one-click"])
    wanted = {
        ("bulksend-token", Path(settings.http.token_file or "").name),
        ("bulksend-unsubscribe", Path(settings.unsubscribe.key_file or "").name),
    }
    for pod in pods().values():
        for variable in container(pod)["env"]:
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                wanted.add((reference["name"], reference["key"]))
    assert wanted == {(name, key) for name, secret in kept.items() for key in secret}


def test_selectors_select_the_workers_and_nothing_else() -> None:
    labels = worker()["metadata"]["labels"]
    deployment = one("worker.yaml", "Deployment")["spec"]
    (service,) = documents("service.yaml")
    selectors = [
        deployment["selector"]["matchLabels"],
        one("worker.yaml", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        *(spread["labelSelector"]["matchLabels"] for spread in worker()["spec"]["topologySpreadConstraints"]),
    ]
    assert [selector for selector in selectors if selector != labels] == []
    assert pods()["bulksend-migrate"]["metadata"]["labels"] != labels
    assert all(pods()[f"with {name}"]["metadata"]["labels"] == labels for name in COMPONENTS)
    (policy,) = documents("networkpolicy.yaml")
    everybody = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(everybody <= pod["metadata"]["labels"].items() for pod in pods().values())
    assert one("worker.yaml", "PodDisruptionBudget")["spec"]["minAvailable"] < deployment["replicas"]
    (account,) = documents("serviceaccount.yaml")
    assert worker()["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_probes_are_the_images_and_the_pod_waits_longer_than_the_worker() -> None:
    settings = settings_of(worker())
    assert worker()["spec"]["terminationGracePeriodSeconds"] > settings.worker.grace_s + LAST_S
    assert settings.worker.grace_s > settings.transport.answer_timeout_s
    *command, route = stages()[1].only("HEALTHCHECK").listed()
    asked = {name: container(worker())[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert asked["liveness"]["exec"]["command"] == [*command, route]
    assert asked["startup"]["exec"]["command"] == [*command, route]
    assert asked["readiness"]["exec"]["command"] == [*command, "readyz"], "readiness alone asks the database and SES"
    assert all(probe["timeoutSeconds"] >= 5 for probe in asked.values())
    # An outage of the database must not get a worker killed; a loop that stands still for two minutes must.
    assert asked["liveness"]["periodSeconds"] * asked["liveness"]["failureThreshold"] == 120


def test_the_bucket_and_the_account_are_those_of_the_policy() -> None:
    policy = json.loads((ROOT / "deploy/aws/policy.json").read_text("utf-8"))
    kept = next(one["Resource"] for one in policy["Statement"] if one["Sid"] == "KeepSnapshots")
    assert f"arn:aws:s3:::{(settings_of(worker()).snapshots or '').removeprefix('s3://')}/*" == kept
    (account,) = documents("serviceaccount.yaml")
    (role,) = account["metadata"]["annotations"].values()
    assert role.split(":")[4] == policy["Statement"][1]["Resource"][0].split(":")[4]


def test_a_worker_starts_with_these_settings_and_signs_and_takes_links(
    tmp_path: Path, database_url: str, simulator: SimulatorProcess
) -> None:
    pod = pods()["with one-click"]
    text = (FOLDER / "config.toml").read_text("utf-8")
    # Files of the secrets, as the group of fsGroup sees them; places and ports of here; and nobody has that queue.
    for name, value in (("token/token", TOKEN), ("unsubscribe/keys", "ab" * 32)):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text(value, "ascii")
        file.chmod(0o440)
    here = {
        "/etc/bulksend/": f"{tmp_path}/",
        "/var/lib/bulksend": f"{tmp_path}/state",
        "0.0.0.0:9464": "127.0.0.1:0",
        "0.0.0.0:8080": "127.0.0.1:0",
    }
    variables = {variable["name"]: variable.get("value", "x") for variable in container(pod)["env"]}
    for place, ours in here.items():
        text = text.replace(place, ours)
        variables = {name: value.replace(place, ours) for name, value in variables.items()}
    (tmp_path / "config.toml").write_text(text, "utf-8")
    variables["BULKSEND_CONFIG"] = str(tmp_path / "config.toml")
    variables |= {
        "BULKSEND_STORE": database_url,
        "BULKSEND_SNAPSHOTS": str(tmp_path / "snapshots"),
        "BULKSEND_HTTP_LISTS_FOLDER": str(tmp_path),
        "BULKSEND_AWS_ENDPOINT_URL": simulator.url,
        "BULKSEND_EVENTS_ENDPOINT_URL": simulator.url,
    }
    (tmp_path / "list.csv").write_text("email\nsuccess@simulator.amazonses.com\n", "utf-8")
    sample = re.search(r"```json\n(.+?)```", (ROOT / "docs" / "DEPLOYMENT.md").read_text("utf-8"), re.DOTALL)
    assert sample is not None
    launch = json.loads(sample[1])
    assert launch["sender"]["configuration_set"] == "bulksend"
    launch["recipients"]["path"] = str(tmp_path / "list.csv")
    launch["unsubscribe"] = {"url": "https://mail.example.com/u/{token}"}
    with WorkerProcess(tmp_path, environment=variables) as worker:
        operators, strangers = re.findall(r"http://(127\.0\.0\.1:\d+)", worker.said())[:2]
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        status, said = ask(operators, "POST", "/campaigns", json.dumps(launch), headers)
        assert status == 201, said
        until(lambda: links(simulator), "it is sent")
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for path in links(simulator):
            assert ask(strangers, "POST", path, "List-Unsubscribe=One-Click", form)[0] == 200
        assert ask(strangers, "GET", "/metrics", None, headers)[0] == 404
        until(lambda: "events are held up" in worker.said(), "that nobody has that queue is said")


def ask(address: str, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, str]:
    connection = HTTPConnection(address, timeout=WITHIN_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def links(simulator: SimulatorProcess) -> list[str]:
    """Paths of the links to unsubscribe in what SES has got."""
    sent = [json.dumps(one["body"]) for one in simulator.requests() if one["operation"] == "SendBulkEmail"]
    return [path for body in sent for path in re.findall(r"https://mail\.example\.com(/u/[\w-]+)", body)]
