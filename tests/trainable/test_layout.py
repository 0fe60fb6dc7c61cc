"""The memory layouts of a CPU change no result: that of oneDNN for features, each parameter's own for its gradient."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
from trainable.device import autocast
from trainable.gradients import Gradients
from trainable.learner import Learner
from trainable.model import MaxPool, build

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "change",
    [{}, {"batch_norm": True}, {"activation": "tanh"}, {"activation": "softplus", "batch_norm": True},
     {"network": "vgg-a", "batch_norm": True}],
)  # fmt: skip
@pytest.mark.parametrize("training", [True, False])
def test_features_in_onednns_layout_have_the_same_scores_and_gradients(change: dict[str, Any], training: bool) -> None:
    ours, pooled_in = results_of(Config(**change), training)
    exact, _ = results_of(Config(**change), training, double=True)
    half = len(pooled_in) // 2
    assert pooled_in == [training] * half + [True] * half
    for result, exact_result in zip(ours, exact, strict=True):
        assert (result - exact_result).norm() < 1e-3 * exact_result.norm()


@pytest.mark.parametrize(
    ("change", "rounding"),
    [({}, 0.05), ({"channels": (8, 32)}, 0.1), ({"channels": (16, 40)}, 0.05), ({"batch_norm": True}, 0.3)],
)
def test_bf16_features_are_in_onednns_layout_where_that_is_faster(change: dict[str, Any], rounding: float) -> None:
    """It is faster without gradients, and where gradients are of whole blocks of channels. oneDNN computes in bf16 on
    processors with AVX-512 alone. `rounding` is a little more than what bf16 does in torch's own layout."""
    config = Config(precision="bf16", **change)
    ours, pooled_in = results_of(config, training=True)
    exact, _ = results_of(config, training=True, double=True)
    supported = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert pooled_in == [supported and config.channels[0] % 16 == 0] * 2 + [supported] * 2
    for result, exact_result in zip(ours, exact, strict=True):
        assert (result - exact_result).norm() < rounding * exact_result.norm()


def results_of(config: Config, training: bool, double: bool = False) -> tuple[tuple[Tensor, ...], list[bool]]:
    """A network's scores, their gradients, and its scores without gradients, in the config's precision or in double
    precision, which oneDNN's layout does not have; and for each pooling, with gradients and without, whether its
    features came in oneDNN's layout."""
    torch.manual_seed(0)
    network, images, pooled_in = build(config).train(training), torch.randn(16, 3, 32, 32), []
    for module in network.modules():
        if isinstance(module, MaxPool):
            module.register_forward_hook(lambda _, inputs, __: pooled_in.append(inputs[0].is_mkldnn))
    precision = autocast(Config() if double else config, CPU)
    if double:
        network, images = network.double(), images.double()
    with precision:
        scores = network(images)
        gradients = torch.autograd.grad(scores.square().sum(), list(network.parameters()))
        with torch.no_grad():
            alone = network.eval()(images)
    return (scores.detach(), torch.cat([each.flatten() for each in gradients]), alone), pooled_in


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_gradients_have_their_parameters_layout(digits: Dataset, precision: Any, seeds: tuple[int, ...]) -> None:
    """Fused optimizers read both in the order of the memory, and say nothing where it differs."""
    config = Config(data="digits", batch_norm=True, precision=precision)
    batches = Batches(digits.splits("A")["train"], config, CPU)
    learner = Learner(config, seeds, batches, CPU)
    batch = next(batches.shuffled([torch.Generator().manual_seed(0) for _ in seeds]))
    _, *gradients = Gradients(config, learner.model, batches, CPU)(*batch)
    for gradient, parameter in zip(gradients, learner.model.parameters(), strict=True):
        assert gradient.stride() == parameter.stride()


def test_a_state_that_was_saved_in_another_layout_goes_on_alike(digits: Dataset) -> None:
    config = Config(data="digits", epochs=2)
    batches = Batches(digits.splits("A")["train"], config, CPU)
    learner, other = Learner(config, (0,), batches, CPU), Learner(config, (0,), batches, CPU)
    learner.train(1)
    state = deepcopy(learner.state_dict())
    for kept in state["optimizer"]["state"].values():
        for name, moment in kept.items():
            if moment.ndim == 4:
                kept[name] = moment.contiguous(memory_format=torch.channels_last)
    other.load_state_dict(state)
    assert other.train(2) == learner.train(2)
