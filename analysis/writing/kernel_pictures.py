"""The pictures of one network's convolution kernels, with their captions."""

from pathlib import Path

from analysis.plots.kernels import bound_of, draw_first_layer, draw_second_layer
from analysis.record.arrays import FirstLayers, fold_batch_norm
from analysis.writing.page import Picture


def kernel_pictures(layers: FirstLayers, name: str, folder: Path) -> list[Picture]:
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
