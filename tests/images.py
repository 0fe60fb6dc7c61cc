"""Images as files: whole ones, odd ones, the forms that a data set has on disk, and the pictures in a record."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from analysis.record.mlflow_record import Record
from analysis.record.recorded import TrialRecord
from trainable.image_set import CIFAR10


def png(size: int = 32, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(pixels: np.ndarray, encoding: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, encoding)
    return buffer.getvalue()


def deep_png(size: int = 32) -> bytes:
    """A PNG of 16 bits a channel, which Pillow opens as `RGB` but does not write. Its header may say another size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    header = struct.pack(">IIBBBBB", size, size, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(32 * 6)) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write_parquet(file: Path, images: list[bytes], labels: list) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": image, "path": None} for image in images]
    parquet.write_table(pa.table({"img": cells, "label": labels}), file)


def write_class_folders(folder: Path) -> None:
    """One image of each class in both splits."""
    for split in ("train", "test"):
        for name in CIFAR10.classes:
            (folder / split / name).mkdir(parents=True)
            (folder / split / name / "0.png").write_bytes(png())


def kernel_images(record: Record, trial: TrialRecord) -> list[tuple[str, int]]:
    """The key and the step of each picture of kernels that the record has of a trial."""
    names = [Path(file.path) for file in record.client.list_artifacts(trial.run_id, "images")]
    return sorted((key, int(step)) for key, _, step, *_ in (n.name.split("+") for n in names if n.suffix == ".png"))
