"""The convolution kernels of the trained networks (the course report's section 1.3.1)."""

import numpy as np

from analysis.record.arrays import FirstLayers, first_layers
from analysis.report_data import ReportData
from analysis.writing.kernel_pictures import kernel_pictures
from analysis.writing.page import Section, Text

TITLE = "Kernels"
DEAD = 0.1
"""A kernel has died where its norm is a smaller share of the largest. The page says: a tenth."""
ABOUT = (
    "The first layer is drawn twice: on one scale for all kernels, where a kernel that has died is grey, and with each "
    "kernel on its own scale, which shows the shape of weak ones. With batch norm the kernels' scale is arbitrary; "
    "with the batch norm folded in, they are what the trained network applies to an image. Scales differ between the "
    "networks."
)


def section(data: ReportData) -> Section:
    """The first and the second layer of the baseline and of the network with batch norm, before and after training."""
    made = Section(TITLE, [Text(ABOUT)])
    for name, batch_norm in (("baseline", False), ("batch norm", True)):
        layers = first_layers(data.source, data.tables, data.trainings, batch_norm)
        if layers is None:
            made.blocks.append(Text(f"Missing: the record has no kernels of the {name} network."))
        else:
            made.blocks += [*kernel_pictures(layers, name, data.folder), Text(_norms(name, layers))]
    return made


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
