"""The manifests: what Kubernetes says of them, and that they agree with each other, the image and the settings."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import bulksend
from bulksend.config import Settings, load_settings
from bulksend.worker.process import LAST_S
from tests.deploy.dockerfile import stages

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
SCHEMA = Path(__file__).parent / "servicemonitor.schema.json"
CUSTOM = {"kustomization.yaml", "servicemonitor.yaml"}
"""Kinds that are not Kubernetes' own."""
MANIFESTS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def one(name: str, kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents(name) if document["kind"] == kind)
    return found


def pods() -> dict[str, dict[str, Any]]:
    """The specs of all pods, by the name of what makes them."""
    makers = [one("worker.yaml", "Deployment"), one("migrate.yaml", "Job")]
    return {maker["metadata"]["name"]: maker["spec"]["template"] for maker in makers}


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


def test_the_service_monitor_has_its_shape_and_finds_the_service() -> None:
    command = ["check-jsonschema", "--schemafile", str(SCHEMA), str(FOLDER / "servicemonitor.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (monitor,) = documents("servicemonitor.yaml")
    (service,) = documents("service.yaml")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "bulksend", "the job that the alerts know"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
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
    assert optional == ["servicemonitor.yaml"]
    apart = {"kustomization.yaml", "secrets.example.yaml"}
    assert sorted([*kustomization["resources"], *optional, *apart]) == MANIFESTS
    assert kustomization["configMapGenerator"] == [{"name": "bulksend-config", "files": ["config.toml"]}]
    (image,) = kustomization["images"]
    assert image["newTag"] == bulksend.__version__
    assert {container(pod)["image"] for pod in pods().values()} == {image["name"]}
    (namespace,) = documents("namespace.yaml")
    assert kustomization["namespace"] == namespace["metadata"]["name"]


@pytest.mark.parametrize("maker", ["bulksend-worker", "bulksend-migrate"])
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
    assert all(mounts[name]["readOnly"] for name in {"config", "token"} & mounts.keys())
    assert mounts["tmp"]["mountPath"] == "/tmp"  # noqa: S108  what Python takes for scratch


@pytest.mark.parametrize("maker", ["bulksend-worker", "bulksend-migrate"])
def test_bulksend_takes_the_settings_and_links_of_services_would_be_refused(maker: str) -> None:
    settings = settings_of(pods()[maker])
    assert settings.store is not None
    with pytest.raises(bulksend.BulksendError, match="BULKSEND_WORKER_SERVICE_HOST"):
        load_settings(FOLDER / "config.toml", {"BULKSEND_WORKER_SERVICE_HOST": "10.0.0.1"}, {})
    assert container(pods()[maker])["args"] == [maker.removeprefix("bulksend-")]


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
    kept = {secret["metadata"]["name"]: secret["stringData"] for secret in documents("secrets.example.yaml")}
    assert {value for secret in kept.values() for value in secret.values()} == {""}
    wanted = {("bulksend-token", Path(settings_of(worker()).http.token_file or "").name)}
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
