"""The memory layouts of a CPU change no result: that of oneDNN for features, each parameter's own for its gradient."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from trainable.batches import Batches
from trainable.config import Config
from trainable.data import Dataset
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
    torch.manual_seed(0)
    single = build(Config(**change)).train(training)
    double = deepcopy(single).double()  # oneDNN's layout is for single precision alone
    pooled_in = []
    for module in (*single.modules(), *double.modules()):
        if isinstance(module, MaxPool):
            module.register_forward_hook(lambda _, inputs, __: pooled_in.append(inputs[0].is_mkldnn))
    images = torch.randn(16, 3, 32, 32)
    results: list[tuple[Tensor, ...]] = []
    for network in (single, double):
        scores = network(images.to(next(network.parameters()).dtype))
        gradients = torch.autograd.grad(scores.square().sum(), list(network.parameters()))
        with torch.no_grad():
            alone = network.eval()(images.to(scores.dtype))
        results.append((scores.detach(), torch.cat([each.flatten() for each in gradients]), alone))
    pools = len(pooled_in) // 4
    assert pooled_in == [training] * pools + [True] * pools + [False] * pools * 2
    for ours, exact in zip(*results, strict=True):
        assert (ours - exact).norm() < 1e-3 * exact.norm()


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
