"""The convolution kernels of the trained networks (the course report's section 1.3.1)."""

from pathlib import Path

from analysis.arrays import FirstLayers, first_layers, fold_batch_norm
from analysis.page import Block, Picture, Section, Text
from analysis.plots.kernels import bound_of, draw_first_layer, draw_second_layer
from analysis.report_data import ReportData

TITLE = "Kernels"
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
            made.blocks += kernel_pictures(layers, name, data.folder)
    return made


def kernel_pictures(layers: FirstLayers, name: str, folder: Path) -> list[Block]:
    """The first and the second layer of a network, before and after training."""
    trained = layers.trained["conv1.weight"]
    bound = bound_of(layers.start, trained)
    stages = {"start": (layers.start, bound), "trained": (trained, bound)}
    if "norm1.weight" in layers.trained:
        folded = fold_batch_norm(layers.trained)
        stages["trained, batch norm folded in"] = folded, bound_of(folded)
    slug = name.replace(" ", "-")
    first = draw_first_layer(stages, f"First layer, {name}, {layers.description}", folder / f"kernels-1-{slug}.png")
    second = draw_second_layer(
        layers.trained["conv2.weight"], f"Second layer, {name}, {layers.description}", folder / f"kernels-2-{slug}.png"
    )
    return [
        Picture(first, f"First-layer kernels of the {name} network, as RGB, with their norms."),
        Picture(second, f"Second-layer kernels of the {name} network."),
    ]
