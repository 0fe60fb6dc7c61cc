"""The files that bring clusters up, against Ray's checks, a mocked AWS, CloudFormation's and Kubernetes' schemas."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest
import yaml
from kubernetes_validate import validate
from moto.server import ThreadedMotoServer

from analysis.record.embedded import uri_of
from tests.conftest import ROOT, Command

CLUSTER = ROOT / "cluster.yaml"
RAYJOB = ROOT / "docs" / "cluster" / "rayjob.yaml"
REGION = "us-west-2"
PINNED = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def launch_file() -> dict[str, Any]:
    return yaml.safe_load(CLUSTER.read_text())


def bootstrapped() -> dict[str, Any]:
    """The cluster's file as the head gets it: checked, and filled in with what AWS says."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(launch_file())
    validate_config(prepared)
    return bootstrap_aws(AWSNodeProvider.fillout_available_node_types_resources(prepared))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mocked AWS whose account has the stack of docs/cluster/aws.yaml; the environment speaks to it alone."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "HOME": str(tmp_path_factory.mktemp("aws")),
        }.items():
            patch.setenv(name, value)
        template = (ROOT / "docs" / "cluster" / "aws.yaml").read_text()
        boto3.client("cloudformation").create_stack(
            StackName="ablation-sweeps", TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        yield endpoint
    server.stop()


def test_the_template_of_the_account_is_valid_and_gives_no_more_than_is_used(aws: str) -> None:
    from cfnlint.api import lint_file

    assert lint_file(ROOT / "docs" / "cluster" / "aws.yaml") == []
    iam = boto3.client("iam")
    for who, may in (("head", {"ec2", "iam", "s3", "ssm"}), ("worker", {"s3"})):
        profile = iam.get_instance_profile(InstanceProfileName=f"ablation-sweeps-{who}")["InstanceProfile"]
        (role,) = profile["Roles"]
        services = set()
        for policy in iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)["PolicyVersion"]
            for statement in found["Document"]["Statement"]:
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                services |= {action.partition(":")[0] for action in actions}
                assert "*" not in actions
        assert services == may, who


def test_the_cluster_is_valid_and_its_versions_are_the_projects(aws: str) -> None:
    prepared = bootstrapped()
    types = prepared["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    assert types["spot"]["max_workers"] + types["on_demand"]["max_workers"] == prepared["max_workers"]
    for name in ("spot", "on_demand"):
        assert types[name]["resources"] | {"CPU": 4, "GPU": 1, "gpu_memory_gb": 24} == types[name]["resources"]
        assert types[name]["min_workers"] == 0
    for image in (prepared["docker"]["head_image"], prepared["docker"]["worker_image"]):
        assert image.startswith(f"rayproject/ray:{PINNED['ray']}-py311")
    (start,) = [line for line in prepared["head_start_ray_commands"] if "ray start" in line]
    assert "--head" in start and "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    (join,) = [line for line in prepared["worker_start_ray_commands"] if "ray start" in line]
    assert "--address=$RAY_HEAD_IP:6379" in join
    assert all("RAY_AUTH_MODE=token" in line for line in (start, join))
    for remote, local in prepared["file_mounts"].items():
        assert remote.endswith("auth_token") or (ROOT / local).is_file()


def test_the_autoscaler_prefers_spot_and_takes_on_demand_for_the_rest(aws: str) -> None:
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    config = AutoscalingConfig(bootstrapped(), skip_content_hash=True)
    trial = {"CPU": 1, "GPU": 0.25, "gpu_memory_gb": 4}

    def nodes_for(trials: int) -> dict[str, int]:
        request = SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=config.get_node_type_configs(),
            max_num_nodes=config.get_max_num_nodes() - 1,  # the head is up
            resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(trial)] * trials),
        )
        launches = ResourceDemandScheduler(MagicMock()).schedule(request).to_launch
        return {launch.instance_type: launch.count for launch in launches}

    assert nodes_for(0) == {}
    assert nodes_for(6) == {"spot": 2}
    assert nodes_for(100) == {"spot": 6, "on_demand": 2}


@pytest.mark.cluster
def test_ray_up_and_down_ask_aws_for_the_right_things(aws: str, tmp_path: Path) -> None:
    """As far as SSH: stand-ins for ssh and rsync write down what they were asked."""
    said = tmp_path / "said"
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name in ("ssh", "rsync", "scp"):
        program = stand_ins / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {said}\ncase "$*" in *"{{{{json"*) echo []; esac\n'
        )
        program.chmod(0o755)
    token = Path.home() / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    environment = os.environ | {"PATH": f"{stand_ins}:{os.environ['PATH']}"}

    def ray(*arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("ray")), *arguments, "--yes"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr

    ec2 = boto3.client("ec2")

    def instances() -> list[dict]:
        return [one for found in ec2.describe_instances()["Reservations"] for one in found["Instances"]]

    ray("up", "cluster.yaml", "--no-config-cache")
    (head,) = instances()
    assert (head["InstanceType"], head["State"]["Name"]) == ("m7i.xlarge", "running")
    assert head["IamInstanceProfile"]["Arn"].endswith("/ablation-sweeps-head")
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert tags | {"project": "ablation-sweeps", "ray-cluster-name": "ablation-sweeps", "ray-node-type": "head"} == tags
    (group,) = [g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] == "ablation-sweeps"]
    open_to_the_world = [rule for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in open_to_the_world] == [(22, 22)]
    assert [peer["GroupId"] for rule in group["IpPermissions"] for peer in rule["UserIdGroupPairs"]] == [
        group["GroupId"]
    ]
    asked = said.read_text()
    assert "RAY_AUTH_MODE=token" in asked and "mlflow server --host 127.0.0.1" in asked and "LABEL=record" in asked

    provider = _provider_on_the_head()
    provider.create_node(*_worker_request("spot"))
    provider.create_node(*_worker_request("on_demand"))
    workers = {one["InstanceType"]: one for one in instances() if one["InstanceId"] != head["InstanceId"]}
    assert set(workers) == {"g5.xlarge"}
    kinds = [one.get("InstanceLifecycle") for one in instances() if one["InstanceType"] == "g5.xlarge"]
    assert sorted(kinds, key=str) == [None, "spot"]
    assert all(
        one["IamInstanceProfile"]["Arn"].endswith("/ablation-sweeps-worker")
        for one in instances()
        if one["InstanceType"] == "g5.xlarge"
    )

    ray("down", "cluster.yaml")
    assert {one["State"]["Name"] for one in instances()} <= {"stopped", "stopping", "terminated", "shutting-down"}
    assert next(one for one in instances() if one["InstanceId"] == head["InstanceId"])["State"]["Name"] == "stopped"


def _provider_on_the_head() -> Any:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = bootstrapped()
    return AWSNodeProvider(config["provider"], config["cluster_name"])


def _worker_request(name: str) -> tuple[dict, dict, int]:
    """What the autoscaler hands to its provider for a worker of that type."""
    from ray.autoscaler.tags import TAG_RAY_LAUNCH_CONFIG, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

    node_type = bootstrapped()["available_node_types"][name]
    return (
        node_type["node_config"],
        {TAG_RAY_LAUNCH_CONFIG: name, TAG_RAY_NODE_KIND: "worker", TAG_RAY_USER_NODE_TYPE: name},
        1,
    )


def test_the_kubernetes_job_is_valid() -> None:
    """Pods against Kubernetes' own schema; KubeRay's fields against its API reference (v1)."""
    job = yaml.safe_load(RAYJOB.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "QUEUE"}
    queued = {"apiVersion": "v1", "kind": "Pod", "metadata": job["metadata"], "spec": {"containers": [{"name": "x"}]}}
    validate(queued, "1.33", strict=True)  # a label that is no text, say
    cluster = job["spec"]["rayClusterSpec"]
    elastic = job["metadata"]["annotations"].get("kueue.x-k8s.io/elastic-job") == "true"
    assert elastic == cluster["enableInTreeAutoscaling"], "Kueue refuses a cluster that grows, unless it is elastic"
    assert len(cluster["workerGroupSpecs"]) < 8, "nor does it take more groups"
    assert set(job["spec"]) <= {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
    options = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions"}
    assert set(cluster) <= options | {"headGroupSpec", "workerGroupSpecs"}
    assert cluster["rayVersion"] == PINNED["ray"]
    assert f"FROM rayproject/ray:{PINNED['ray']}-" in (ROOT / "docs" / "cluster" / "Dockerfile").read_text()
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **group["template"]}
        validate(pod, "1.33", strict=True)
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("place", ["docs/cluster/rayjob.yaml", "docs/cluster.md", "README.md", "CONTRIBUTING.md"])
def test_commands_that_are_written_down_are_understood(place: str, here: Command, empty_record: Path) -> None:
    """Every `sweeps/full.py` in the launch files and the page, planned with --dry-run."""
    text = (ROOT / place).read_text().replace("\\\n", " ")
    if place.endswith(".yaml"):
        text = yaml.safe_load(text)["spec"]["entrypoint"]
    commands = re.findall(r"python \S*sweeps/full\.py([^\n`#]*)", text)
    assert commands
    for command in commands:
        arguments = shlex.split(command)
        for option in ("--address", "--tracking-uri", "--storage-path", "--data-dir"):
            if option in arguments:
                del arguments[arguments.index(option) : arguments.index(option) + 2]
        data = [] if "--config" in arguments else ["--data", "digits"]
        done = here(*arguments, "--dry-run", *data, "--tracking-uri", uri_of(empty_record), folder=ROOT)
        assert done.returncode == 0, (command, done.stderr)
