"""Kernels, envelope, smoothness and surfaces, against hand-made cases and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.envelope import LEAST, Envelope, envelope, gap_rows, gaps_header, ranges
from analysis.plots.envelope_bands import draw_envelopes
from analysis.plots.gradient_bands import draw_smoothness
from analysis.plots.kernels import own_scale, shared_scale
from analysis.plots.loss_grid import draw_surfaces
from analysis.record.arrays import LossSurface, fold_batch_norm
from analysis.smoothness import probe_steps, summary
from tests.analysis_records import TAGS, table, trial
from tests.configs import EVERYTHING
from trainable.config import Config
from trainable.data import load
from trainable.files import WEIGHTS
from trainable.landscape import Evaluator, directions, moved
from trainable.measures import LOSS_SURFACE, STEP_SIZES
from trainable.model import build
from trainable.probes import probe
from trainable.training import Trainer


def test_an_envelope_by_hand(tmp_path: Path) -> None:
    slow = {0: np.array([4.0, 3.0, 2.0, 1.0]), 1: np.array([2.0, 2.0, 2.0, 2.0])}
    fast = {0: np.array([1.0, 5.0, 2.0, 0.0]), 2: np.array([9.0, 9.0, 9.0, 9.0])}
    band = envelope("baseline", {"slow": slow, "fast": fast}, steps_an_epoch=2)
    assert band is not None
    assert band.low.tolist() == [[1.0, 3.0, 2.0, 0.0]], "only the seed that all learning rates have"
    assert band.high.tolist() == [[4.0, 5.0, 2.0, 1.0]]
    assert band.gaps() == [{0: (3 + 2) / 2}, {0: (0 + 1) / 2}]
    assert band.ratios() == [{0: pytest.approx(np.sqrt(4 * 5 / 3))}, {0: pytest.approx(np.sqrt(1 * 1 / LEAST))}]
    assert band.worst == ("slow", 0.75), "of equal losses the first"
    assert gaps_header(band.epochs) == ["network", "band", "seeds", "epoch 1", "epoch 2"]
    assert ranges(20) == [(1, 1), (2, 5), (6, 10), (11, 20)]
    assert ranges(3) == [(1, 1), (2, 3)]
    assert envelope("baseline", {"slow": slow, "fast": {}}, 2) is None
    alone = envelope("baseline", {"slow": slow}, steps_an_epoch=2)
    assert alone and not any("without" in row[1] for row in gap_rows([alone])), "nothing is left without its one rate"
    flat = Envelope("with batch norm", ("slow", "fast"), (0, 1), np.array([0 * np.ones((2, 4)), np.ones((2, 4))]), 2)
    height, ratio = "mean height", "largest over smallest loss"
    assert gap_rows([band, flat])[:4] == [
        ["baseline", height, "1", "2.5000", "0.5000"],
        ["with batch norm", height, "2", "1.0000 ± 0.0000", "1.0000 ± 0.0000"],
        ["difference, paired by seed", height, "1", "-1.5000", "+0.5000"],
        ["baseline", f"{height}, without slow", "1", "0.0000", "0.0000"],
    ]
    assert [row[:2] for row in gap_rows([band, flat])[5:]] == [
        ["baseline", ratio],
        ["with batch norm", ratio],
        ["difference, paired by seed", ratio],
    ]
    file = draw_envelopes([band], "digits", tmp_path / "envelope.png")
    assert file.with_suffix(".csv").read_text().splitlines()[:2] == [
        "network,step,low,high,slow,fast", "baseline,1,1,4,4,1"
    ]  # fmt: skip


def test_folding_is_what_the_network_applies() -> None:
    torch.manual_seed(0)
    model = build(Config(batch_norm=True)).double()
    model(torch.randn(64, 3, 32, 32, dtype=torch.float64))
    model.eval()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    normed = model.norm1(model.conv1(images))
    folded = torch.nn.functional.conv2d(images, torch.from_numpy(fold_batch_norm(weights)), padding=1)
    offset = (normed - folded)[0, :, 0, 0]
    assert torch.allclose(normed, folded + offset[None, :, None, None])


def test_scales_of_kernels() -> None:
    kernels = np.zeros((2, 3, 1, 1))
    kernels[0, 0], kernels[1, 0] = 2.0, -1.0
    assert shared_scale(kernels, 2.0)[:, 0, 0, 0].tolist() == [1.0, 0.25]
    assert own_scale(kernels)[:, 0, 0, 0].tolist() == [1.0, 0.0]


def test_probes_of_a_quadratic_are_its_curvature() -> None:
    """L = a/2 |theta|^2 has gradient a theta: the distance of gradients is a |eta g| and beta is a."""
    curvature, rate = 3.0, 0.1
    parameter = torch.tensor([1.0, -2.0], requires_grad=True)

    def step(scale: torch.Tensor) -> tuple[torch.Tensor, ...]:
        loss = scale * parameter.square().sum() / 2
        return loss.detach()[None], *torch.autograd.grad(loss, [parameter])

    inputs = [torch.tensor(curvature)]
    _, gradient = step(*inputs)
    measured = probe(step, inputs, [gradient], [parameter], [], rate, seeds=1, random_state=[torch.get_rng_state()])[0]
    for times, (loss, distance, beta) in zip(STEP_SIZES, measured.tolist(), strict=True):
        eta = times * rate
        assert loss == pytest.approx(curvature / 2 * 5 * (1 - eta * curvature) ** 2, rel=1e-5)
        assert distance == pytest.approx(curvature * eta * curvature * 5**0.5, rel=1e-5)
        assert beta == pytest.approx(curvature, rel=1e-5)
    assert parameter.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("fused", [False, True])
def test_probing_changes_nothing_in_the_training(fused: bool) -> None:
    digits = load("digits")
    plain, probed = (Trainer(EVERYTHING, digits, (0, 1), fused=fused, probe_every=every) for every in (None, 4))
    for trainer in (plain, probed):
        trainer.run_epoch()
    for name, tensor in plain.weights().items():
        assert torch.equal(tensor, probed.weights()[name]), name
    assert torch.equal(plain.step_losses()["seed_1"], probed.step_losses()["seed_1"])
    assert plain.probes() == {}
    assert probed.probes()["seed_1"].shape == (3, len(STEP_SIZES), 3)
    assert not torch.equal(probed.probes()["seed_0"], probed.probes()["seed_1"])


def test_directions_are_filter_normalised_and_leave_norms_and_biases_out() -> None:
    torch.manual_seed(0)
    weights = {name: tensor.numpy() for name, tensor in build(Config(batch_norm=True)).state_dict().items()}
    one, other = directions(weights, seed=0)
    for name, own in weights.items():
        if own.ndim < 2:
            assert not one[name].any(), name
        else:
            axes = tuple(range(1, own.ndim))
            assert np.allclose(np.sqrt((one[name] ** 2).sum(axes)), np.sqrt((own**2).sum(axes)), rtol=1e-4), name
            assert not np.allclose(one[name], other[name])
    plain = {name: tensor.numpy() for name, tensor in build(Config()).state_dict().items()}
    (same,) = directions(plain, seed=0, count=1)
    ratio = same["conv1.weight"] / one["conv1.weight"]
    assert np.allclose(ratio, ratio[:, :1, :1, :1], rtol=1e-3), "the same draws, each filter as long as its own weights"


def test_a_surface_of_a_linear_layer_in_closed_form() -> None:
    """Moving the last bias-free scores by a direction of equal rows changes no softmax: the loss stays as it is."""
    weights = {name: tensor.numpy() for name, tensor in build(Config(data="digits")).state_dict().items()}
    shift = {name: np.zeros_like(array) for name, array in weights.items()}
    shift["linear5.weight"] = np.ones_like(weights["linear5.weight"])
    evaluator = Evaluator(Config(data="digits"), load("digits"), images=100)
    here = evaluator.loss_and_error(weights)
    assert evaluator.loss_and_error(moved(weights, [shift], [0.7])) == pytest.approx(here, rel=1e-4)
    zero = {name: np.zeros_like(array) for name, array in weights.items()}
    assert evaluator.loss_and_error(zero)[0] == pytest.approx(np.log(10), rel=1e-6)


def test_pictures_of_measurements_keep_their_numbers(tmp_path: Path) -> None:
    probes = {"plain": np.array([[[1.0, 2.0, 3.0], [3.0, 5.0, 9.0]]] * 3)}
    steps = probe_steps(every=50, steps_an_epoch=60, epochs=2)
    assert steps.tolist() == [0, 50, 60, 110], "counted anew in each epoch"
    file = draw_smoothness(probes, {"plain": steps[:3]}, "title", tmp_path / "smoothness.png")
    assert "plain,50,loss after the step,1,3" in file.with_suffix(".csv").read_text()
    seeds = {0: probes["plain"], 1: 2 * probes["plain"]}
    assert summary({"plain": {0: probes["plain"]}}) == [["plain", "1", "2", "3", "9", "9"]]
    assert summary({"plain": seeds}) == [["plain", "2", "3 ± 12.71", "4.5 ± 19.06", *["13.5 ± 57.18"] * 2]]
    axis = np.linspace(-1, 1, 3)
    bowl = LossSurface(axis, axis, loss=1 + axis[:, None] ** 2 + axis**2, error=np.zeros((3, 3)), images=100)
    files = draw_surfaces({"baseline": bowl}, "digits", tmp_path / "surface")
    assert [file.name for file in files] == ["surface-1d.png", "surface-2d.png"]
    assert "baseline,-1,1,3,0" in files[1].with_suffix(".csv").read_text()


def test_a_missing_surface_is_that_of_the_first_training_with_weights() -> None:
    from sweeps.planning.surface_plan import plan_surfaces

    config = Config(data="digits")
    own = table("digits").model_copy(update={"measure": LOSS_SURFACE})
    names = ("no weights", "first", "second")
    trials = [trial(name, {0: [0.3]}, config, tags=TAGS | {"files": WEIGHTS * (name != names[0])}) for name in names]
    plan = plan_surfaces([own], trials)
    assert [surface.trial.name for surface in plan.ready] == ["first"]
    assert [later.loss for later in plan.later] == ["hinge"], "the table's other row is not trained yet"
    assert len(plan.sizes) == 2
