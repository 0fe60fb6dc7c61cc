"""Several real nodes: each a network namespace with its own address, host name and caches, and no copy of the code."""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from analysis.record.mlflow_record import Record
from benchmarks.clusters import RAY, STORE, kill_where, wait_for
from benchmarks.machine import sweep_command
from tests.conftest import ROOT, SHARED_CIFAR10, needs_cifar10

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]

NET, PORT = "10.77.0", 6379
MARK = "SWEEP_TEST_NODE"
JOIN = """
set -e
hostname {name}
mount --make-rprivate /
mkdir -p {folder}/session
if [ {name} != sweep-0 ]; then  # a file system of its own, without the code: it has to come with the job
  mount -t tmpfs none {folder}/session
  mkdir -p {folder}/{name}/venv
  [ ! -d {root}/.venv ] || mount --bind {root}/.venv {folder}/{name}/venv  # else Python is elsewhere
  mount -t tmpfs none {root} && mkdir {root}/.venv && mount --bind {folder}/{name}/venv {root}/.venv
fi
cd /
exec {command}
"""


@dataclass(frozen=True)
class Nodes:
    """A head, where the driver runs, and two workers of one CPU each, beside an object store."""

    folder: Path
    s3: str
    """The query of an s3:// URI that leads to the store."""
    environment: dict[str, str]

    def start(self, number: int, command: str) -> subprocess.Popen:
        """Run a command on a node."""
        name = f"sweep-{number}"
        (self.folder / name).mkdir(exist_ok=True)
        script = JOIN.format(name=name, folder=self.folder, root=ROOT, command=command)
        return self._run(name, script, self.folder / name / "log")

    def sweep(self, *arguments: str, folder: Path) -> subprocess.Popen:
        """The driver, on the head."""
        storage = f"s3://sweeps/storage{self.s3}"
        command = sweep_command("--address", f"{NET}.10:{PORT}", "--storage-path", storage, *arguments)
        return self._run(
            "sweep-0", f"hostname sweep-0 && cd {folder} && exec {shlex.join(command)}", folder / "sweep.log"
        )

    def _run(self, name: str, script: str, log_file: Path) -> subprocess.Popen:
        home = self.folder / name
        own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "RAY_TMPDIR": str(self.folder / "session")}
        command = ["ip", "netns", "exec", name, "unshare", "--uts", "bash", "-c", script]
        with log_file.open("a") as log:
            return subprocess.Popen(command, env=self.environment | own | {MARK: name}, stdout=log, stderr=log)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    _take_down()  # what a killed test run left behind
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    ip("link add sweep-net type bridge")
    ip(f"addr add {NET}.1/24 dev sweep-net")
    ip("link set sweep-net up")
    server = ThreadedMotoServer(f"{NET}.1", port=0, verbose=False)
    server.start()
    endpoint = f"{NET}.1:{server.get_host_and_port()[1]}"
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=f"http://{endpoint}").create_bucket(Bucket="sweeps")
        environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
        made = Nodes(folder, f"?scheme=http&endpoint_override={endpoint.replace(':', '%3A')}", environment)
        try:
            for number in range(3):
                name = f"sweep-{number}"
                ip(f"netns add {name}")
                ip(f"link add {name} type veth peer name eth0 netns {name}")
                ip(f"link set {name} master sweep-net up")
                for command in (f"addr add {NET}.{10 + number}/24 dev eth0", "link set eth0 up", "link set lo up"):
                    ip(f"-n {name} {command}")
            start = f"{RAY} start --block --disable-usage-stats {STORE} --node-ip-address={NET}"
            made.start(0, f"{start}.10 --head --port={PORT} --num-cpus=0 --include-dashboard=false")
            wait_for("the head", lambda: "Ray runtime started" in (folder / "sweep-0" / "log").read_text())
            for number in (1, 2):
                made.start(number, f"{start}.{10 + number} --address={NET}.10:{PORT} --num-cpus=1")
            for number in (1, 2):
                log = folder / f"sweep-{number}" / "log"
                wait_for(f"node {number}", lambda log=log: "Ray runtime started" in log.read_text())
            yield made
        finally:
            _take_down()
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


def _take_down() -> None:
    for number in range(3):
        kill_where(MARK, f"sweep-{number}")
        for kind in ("link", "netns"):
            subprocess.run(["ip", kind, "delete", f"sweep-{number}"], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "delete", "sweep-net"], check=False, stderr=subprocess.DEVNULL)


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@needs_cifar10
def test_code_and_data_reach_the_workers_and_the_record_is_complete(nodes: Nodes, tmp_path: Path) -> None:
    store = boto3.client("s3", endpoint_url=f"http://{_endpoint(nodes)}")
    for file in SHARED_CIFAR10.rglob("*.parquet"):
        store.upload_file(str(file), "sweeps", f"cifar10/{file.relative_to(SHARED_CIFAR10)}")
    arguments = [
        "--data-dir",
        f"s3://sweeps/cifar10{nodes.s3}",
        "--studies",
        "tables",
        "--only",
        "5,7",
        "--epochs",
        "1",
    ]
    sweep = nodes.sweep(*arguments, folder=tmp_path)
    assert sweep.wait(timeout=280) == 0, (tmp_path / "sweep.log").read_text()
    trials = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-cifar10").trials()
    assert sorted(trial.name for trial in trials if trial.complete) == [
        "activation-softplus", "activation-tanh", "baseline", "batch-norm-yes",
    ]  # fmt: skip
    assert {trial.tags["host"] for trial in trials} == {"sweep-1", "sweep-2"}
    for number in (1, 2):
        cache = nodes.folder / f"sweep-{number}" / "cache" / "ablation-sweeps"
        for kind in ("fetched", "prepared"):
            assert len([folder for folder in (cache / kind).iterdir() if folder.is_dir()]) == 1
    assert not [key for key in _keys(store) if key.endswith((".pt", ".safetensors"))], (
        "a recorded trial's files are removed"
    )


def test_a_trial_of_a_lost_node_goes_on_elsewhere_from_the_shared_storage(nodes: Nodes, tmp_path: Path) -> None:
    store = boto3.client("s3", endpoint_url=f"http://{_endpoint(nodes)}")
    sweep = nodes.sweep("--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "80", folder=tmp_path)
    wait_for("checkpoints", lambda: sum(key.endswith("checkpoint.pt") for key in _keys(store)) == 2, 120)
    kill_where(MARK, "sweep-2")
    assert sweep.wait(timeout=280) == 0, (tmp_path / "sweep.log").read_text()
    trials = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    for trial in trials.trials():
        epochs = [epoch for epoch, _ in trials.with_histories([trial])[0].histories["test_error"]]
        assert (trial.status, epochs) == ("FINISHED", list(range(1, 81)))


def _endpoint(nodes: Nodes) -> str:
    return nodes.s3.rpartition("=")[2].replace("%3A", ":")


def _keys(store) -> list[str]:  # type: ignore[no-untyped-def]
    return [entry["Key"] for entry in store.list_objects_v2(Bucket="sweeps").get("Contents", [])]
