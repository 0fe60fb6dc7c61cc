"""Data is prepared once for all processes of a host, copied once from a URI, and made again where a copy is damaged."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import ROOT
from trainable import data
from trainable.create_once import create_once
from trainable.errors import DataError
from trainable.fetch import fetch


@pytest.fixture(params=[("test.parquet", "train.parquet"), ("about.txt", "train/a.bin")])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The S3 URI of a folder with these files in a bucket, which has, as buckets do, no folders of its own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "{}:{}".format(*server.get_host_and_port())
    store = boto3.client("s3", endpoint_url=f"http://{endpoint}", region_name="us-east-1")
    name_of_bucket = f"sweeps-{uuid.uuid4().hex}"  # all servers of a process have the same buckets
    store.create_bucket(Bucket=name_of_bucket)
    for name in request.param:
        store.put_object(Bucket=name_of_bucket, Key=f"cifar10/{name}", Body=name.encode())
    yield f"s3://{name_of_bucket}/cifar10?scheme=http&endpoint_override={quote(endpoint)}"
    server.stop()


def test_a_folder_of_a_bucket_is_copied_with_its_folders(bucket: str, tmp_path: Path) -> None:
    copy = fetch(bucket, tmp_path, "--data-dir")
    files = [file for file in copy.rglob("*") if file.is_file()]
    assert copy.name == "cifar10" and len(files) == 2
    assert all(file.read_text() == str(file.relative_to(copy)) for file in files)


def test_processes_that_start_at_once_prepare_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from trainable.data import load; print(load('digits').fingerprint)"]
    environment = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    starts = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    prints = {process.communicate(timeout=60)[0] for process in starts}
    assert len(prints) == 1
    prepared = [path for path in (tmp_path / "ablation-sweeps" / "prepared").iterdir() if path.is_dir()]
    assert len(prepared) == 1


def test_the_prepared_form_is_json_and_plain_arrays() -> None:
    folder = data.prepare("digits")
    assert json.loads((folder / "about.json").read_text())["form"] == "embedded"
    assert isinstance(np.load(folder / "train_images.npy", mmap_mode="r"), np.memmap)


@pytest.mark.parametrize("damage", ["flipped", "cut", "pickled", "gone", "other"])
def test_a_damaged_prepared_copy_is_made_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    whole = np.array(data.load("digits").train_images)
    folder = data.prepare("digits")
    file = folder / "train_images.npy"
    content = bytearray(file.read_bytes())
    match damage:
        case "flipped":
            content[100_000] ^= 1
            file.write_bytes(content)
        case "cut":
            file.write_bytes(content[:100_000])
        case "pickled":
            np.save(file, np.array([{}]), allow_pickle=True)
        case "gone":
            file.unlink()
        case "other":
            (folder / "about.json").write_text("[]")
    monkeypatch.setattr(data, "_intact", set())  # as in another process
    again = data.load("digits")
    assert np.array_equal(again.train_images, whole)
    assert caplog.messages == [f"{folder} is damaged; it is made again"]


def test_copies_do_not_pile_up(tmp_path: Path) -> None:
    filled: list[Path] = []
    for number in range(6):
        os.utime(create_once(tmp_path / f"copy-{number}", filled.append), (number, number))
        if number > 1:
            create_once(tmp_path / "copy-1", filled.append)  # somebody goes on using it
    assert len(filled) == 6
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"copy-1", "copy-3", "copy-4", "copy-5"}


def test_a_folder_that_is_being_filled_is_left_alone(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        for number in range(6):
            create_once(tmp_path / f"other-{number}", lambda other: None)
        (folder / "done").touch()

    of_a_killed_process = tmp_path / "unfinished-1"
    of_a_killed_process.mkdir()
    os.utime(of_a_killed_process, (1, 1))
    assert (create_once(tmp_path / "mine", fill) / "done").exists()
    assert not of_a_killed_process.exists()


def test_a_folder_behind_a_uri_is_copied_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    source, cache = tmp_path / "bucket", tmp_path / "cache"
    (source / "train").mkdir(parents=True)
    (source / "train" / "a.bin").write_bytes(b"first")
    copy = fetch(source.as_uri(), cache, "--data-dir")
    assert copy.name == "bucket", "the official form is told by its folder's name"
    assert (copy / "train" / "a.bin").read_bytes() == b"first"
    assert fetch(source.as_uri(), cache, "--data-dir") == copy
    (source / "train" / "a.bin").write_bytes(b"changed")
    assert (fetch(source.as_uri(), cache, "--data-dir") / "train" / "a.bin").read_bytes() == b"changed"


@pytest.mark.parametrize("uri", ["nothing://bucket/cifar10", "file:///no/such/folder"])
def test_a_uri_that_cannot_be_read_is_named(uri: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"--data-dir {uri}"):
        fetch(uri, tmp_path, "--data-dir")
