"""Ray's autoscaler (version 2, as `ray up` starts it) with the provider of fake nodes, and sweeps that ask for GPUs."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.record.mlflow_record import Record
from benchmarks.clusters import Cluster, cluster, free_port, kill_where, wait_for
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD_ID = "f" * 51 + "00000"
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
WATCH = """
import json, sys, time, ray
ray.init(sys.argv[1], log_to_driver=False)
while True:
    nodes = [{"id": n["NodeID"], "alive": n["Alive"], **n["Resources"]} for n in ray.nodes()]
    print(json.dumps({"time": time.time(), "nodes": nodes}), flush=True)
    time.sleep(0.5)
"""
NODE_TYPES = {
    "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
    "small": {
        "resources": {"CPU": 1, "GPU": 1, "gpu_memory_gb": 8, "object_store_memory": 100_000_000},
        "node_config": {}, "min_workers": 0, "max_workers": 2,
    },
    "large": {
        "resources": {"CPU": 1, "GPU": 1, "gpu_memory_gb": 80, "object_store_memory": 100_000_000},
        "node_config": {}, "min_workers": 0, "max_workers": 2,
    },
}  # fmt: skip


@pytest.fixture
def growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cluster of a head without CPUs that starts up to two nodes with a fake GPU each."""
    import ray.util

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # with none in it Ray starts no node with a GPU
    # the provider must know the head's port before there is a head
    port = free_port()
    config = {
        "cluster_name": "fake", "max_workers": 2, "upscaling_speed": 10, "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "external", "module": PROVIDER, "gcs_address": f"{ray.util.get_node_ip_address()}:{port}",
            "head_node_id": HEAD_ID, "launch_multiple": True, "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default", "available_node_types": NODE_TYPES,
        "auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "file_mounts_sync_continuously": False,
        **{f"{name}_commands": [] for name in COMMANDS},
    }  # fmt: skip
    file = tmp_path / "fake.yaml"
    file.write_text(yaml.safe_dump(config))
    with cluster(
        "--num-cpus=0", f"--autoscaling-config={file}", "--include-dashboard=false", port=port,
        RAY_enable_autoscaler_v2="1", RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1",
        RAY_CLOUD_INSTANCE_ID=HEAD_ID, RAY_OVERRIDE_NODE_ID_FOR_TESTING=HEAD_ID,
    ) as running:  # fmt: skip
        yield running


def sweep_on_fake_gpus(head: Cluster, *arguments: str, folder: Path) -> subprocess.Popen:
    """`tests/fake_gpus.py` on a cluster, with what it prints in `FOLDER/sweep.log`."""
    with (folder / "sweep.log").open("a") as log:
        command = [sys.executable, str(ROOT / "tests" / "fake_gpus.py"), "--address", head.address, *arguments]
        return subprocess.Popen(command, cwd=folder, env=head.environment, stdout=log, stderr=log)


@contextmanager
def watched(head: Cluster) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Half a second apart, the nodes that there were: a function that returns all that was seen so far."""
    with tempfile.NamedTemporaryFile("w+") as seen:
        command = [sys.executable, "-c", WATCH, head.address]
        watcher = subprocess.Popen(command, env=head.environment, stdout=seen, stderr=subprocess.DEVNULL)
        try:
            yield lambda: [json.loads(line) for line in Path(seen.name).read_text().splitlines() if line[:1] == "{"]
        finally:
            watcher.kill()


def test_nodes_start_are_filled_preempted_replaced_and_let_go(growing: Cluster, tmp_path: Path) -> None:
    work = ["--data", "digits", "--studies", "tables", "--only", "3,5,7", "--epochs", "60"]
    arguments = [*work, "--gpus-per-trial", "1", "--gpu-memory-per-trial", "6", "--slots", "2"]
    log = tmp_path / "sweep.log"
    with watched(growing) as seen:
        wait_for("the watcher", seen)
        sweep = sweep_on_fake_gpus(growing, *arguments, folder=tmp_path)

        def with_gpus() -> set[str]:
            return {node["id"] for node in seen()[-1]["nodes"] if node["alive"] and node.get("GPU")}

        assert with_gpus() == set()
        first = wait_for("two GPU nodes", lambda: with_gpus() if len(with_gpus()) == 2 else None, 90)
        wait_for("a trial that trains", lambda: "epoch" in log.read_text(), 90)
        victim = min(first)
        kill_where("RAY_OVERRIDE_NODE_ID_FOR_TESTING", victim)  # as a spot market takes a machine
        wait_for("a node in the place of the preempted one", lambda: len(with_gpus() - first) == 1, 90)
        assert sweep.wait(timeout=280) == 0, log.read_text()
        wait_for("an empty cluster", lambda: with_gpus() == set(), 60)
    assert "waiting for some with 1 CPU and 1 GPU with 6 GB" in " ".join(log.read_text().split())
    record = Record(f"sqlite:///{tmp_path}/mlflow.db", "ablations-digits")
    trials = record.trials()
    assert len(trials) == len({trial.key for trial in trials}) == 5
    for trial in trials:
        epochs = [epoch for epoch, _ in record.with_histories([trial])[0].histories["test_error"]]
        assert (trial.status, epochs) == ("FINISHED", list(range(1, 61)))


def test_trials_land_where_their_gpu_memory_fits(growing: Cluster, tmp_path: Path) -> None:
    arguments = ["--data", "digits", "--studies", "tables", "--only", "7", "--epochs", "1", "--gpus-per-trial", "1"]
    with watched(growing) as seen:
        large = sweep_on_fake_gpus(growing, *arguments, "--gpu-memory-per-trial", "40", "--slots", "2", folder=tmp_path)
        assert large.wait(timeout=200) == 0, (tmp_path / "sweep.log").read_text()
        memory = {node["gpu_memory_gb"] for look in seen() for node in look["nodes"] if node.get("GPU")}
    assert memory == {80}
