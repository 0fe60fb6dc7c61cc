"""The convolution kernels of the trained networks (the course report's section 1.3.1)."""

from typing import Any

import numpy as np

from analysis.networks import BATCH_NORM
from analysis.record.arrays import FirstLayers, first_layers
from analysis.report_data import ReportData
from analysis.writing.kernel_pictures import kernel_pictures
from analysis.writing.page import Absent, Block, Section, Text

TITLE = "Kernels"
NETWORKS: dict[str, dict[str, Any]] = {"baseline": {}, "batch norm": BATCH_NORM}
"""The networks whose kernels are drawn, as changes to the baseline."""
DEAD = 0.1
"""A kernel has died where its norm is a smaller share of the largest. The page says: a tenth."""
ABOUT = (
    "The first layer is drawn twice: on one scale for all kernels, where a kernel that has died is grey, and with each "
    "kernel on its own scale, which shows the shape of weak ones. With batch norm the kernels' scale is arbitrary; "
    "with the batch norm folded in, they are what the trained network applies to an image. Scales differ between the "
    "networks."
)


def section(data: ReportData) -> Section | Absent:
    """The first and the second layer of the baseline and of the network with batch norm, before and after training."""
    blocks: list[Block] = []
    for name, change in NETWORKS.items():
        keys = {row.key: None for table in data.tables for row in table.rows if row.config.ablation == change}
        if layers := first_layers(data.source, keys, data.trainings):
            blocks += [*kernel_pictures(layers, name, data.folder), Text(_norms(name, layers))]
        elif keys:
            blocks.append(Text(f"Missing: the record has no kernels of the {name} network."))
    if all(isinstance(block, Text) for block in blocks):
        return Absent(TITLE, f"the record has no kernels of the {' or the '.join(NETWORKS)} network")
    return Section(TITLE, [Text(ABOUT), *blocks])


def _norms(name: str, layers: FirstLayers) -> str:
    """How long the first layer's kernels are, and how many have died."""
    start, trained = (
        np.linalg.norm(each.reshape(len(each), -1), axis=1) for each in (layers.start, layers.trained["conv1.weight"])
    )
    dead = int((trained < DEAD * trained.max()).sum())
    shorter = {0: "No kernel is", 1: "1 kernel is"}.get(dead, f"{dead} kernels are")
    return (
        f"The median norm of the {len(trained)} first-layer kernels of the {name} network is {np.median(start):.2f} "
        f"before training and {np.median(trained):.2f} after it. {shorter} shorter than a tenth of "
        "the longest."
    )
