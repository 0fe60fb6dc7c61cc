"""A record in PostgreSQL behind an MLflow server: driver, server and database are killed, and no number changes."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.record.mlflow_record import Record
from benchmarks.clusters import free_port, wait_for
from tests.drivers import checkpoints, histories, kill_family, start, undisturbed
from tests.servers import Server

PLACES = [*map(str, Path("/usr/lib/postgresql").glob("*/bin")), os.environ["PATH"]]
PG_CTL = shutil.which("pg_ctl", path=os.pathsep.join(PLACES))
USER = "postgres"

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.skipif(not PG_CTL, reason="needs PostgreSQL: apt-get install postgresql"),
]


class Database:
    """A PostgreSQL server of its own, on a free port of this machine. It refuses to run as root."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._data, self._log = folder / "data", folder / "log.txt"
        self.uri = f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "--username", USER, "--auth", "trust", "--pgdata", str(self._data))
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._data}"
        self._run("pg_ctl", "start", "--wait", "-D", str(self._data), "-l", str(self._log), "-o", options)

    def kill(self) -> None:
        """As a crash: what was not written to its log is gone."""
        self._run("pg_ctl", "stop", "--wait", "-D", str(self._data), "-m", "immediate")

    def _run(self, program: str, *arguments: str) -> None:
        assert PG_CTL
        command = [str(Path(PG_CTL).with_name(program)), *arguments]
        user = USER if os.geteuid() == 0 else None
        subprocess.run(
            command, user=user, cwd="/", check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL
        )


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        database = Database(Path(folder))
        yield database
        database.kill()


def test_a_record_in_postgresql_survives_driver_server_and_database(tmp_path: Path, database: Database) -> None:
    server = Server(tmp_path, database.uri)
    process = start(tmp_path, "--tracking-uri", server.uri)
    wait_for("a checkpoint", lambda: checkpoints(tmp_path), 120)
    kill_family(process)
    saved = checkpoints(tmp_path)
    process = start(tmp_path, "--tracking-uri", server.uri)
    wait_for("a new checkpoint", lambda: checkpoints(tmp_path) != saved, 120)
    server.kill()
    database.kill()
    database.start()
    server.start()
    assert process.wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    record = Record(server.uri, "ablations-digits")
    assert histories(record) == undisturbed()
    assert sorted(trial.name for trial in record.trials() if trial.complete) == ["baseline", "loss-hinge"]
    assert {sweep.status for sweep in record.sweeps()} == {"KILLED", "FINISHED"}
    server.kill()
