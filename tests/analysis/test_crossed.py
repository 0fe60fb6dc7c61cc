"""Intervals over new seeds and new images: against the pigeonhole bootstrap, and what they cover."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.record.arrays import correct_images
from analysis.record.replicates import replicates
from analysis.statistics.crossed import crossed_half_width
from analysis.statistics.effects import paired_effects
from analysis.statistics.intervals import half_width
from tests.analysis_records import Recorded, page_of, sweep, table, trial
from trainable.config import Config
from trainable.files import CORRECT

HINGE = Config(loss="hinge")


def half_of(values_sn: np.ndarray) -> float:
    of_seeds = half_width(values_sn.mean(1).tolist())
    assert of_seeds
    return crossed_half_width(values_sn, of_seeds)


def pigeonhole(values_sn: np.ndarray, generator: np.random.Generator) -> float:
    """Half the 95% percentile interval of the bootstrap that draws seeds and images again."""
    of_seeds, of_images = (generator.multinomial(n, np.full(n, 1 / n), 400) / n for n in values_sn.shape)
    means = ((of_seeds @ values_sn) * of_images).sum(1)
    return float(np.subtract(*np.quantile(means, [0.975, 0.025]))) / 2


def drawn(generator: np.random.Generator, seeds: int, of_seeds: float, of_images: float) -> np.ndarray:
    """Values around 0, (seeds, 200), that vary by seed, by image and by both."""
    by_seed, by_image = generator.normal(0, of_seeds, (seeds, 1)), generator.normal(0, of_images, 200)
    return by_seed + by_image + generator.normal(0, 0.3, (seeds, 200))


def test_the_images_part_is_students_interval_of_their_means_and_the_parts_add_in_squares() -> None:
    values = drawn(np.random.default_rng(0), 3, 0.3, 1.0)
    of_images = stats.t.ppf(0.975, 199) * stats.sem(values.mean(0))
    assert crossed_half_width(values, 0.0) == pytest.approx(of_images)
    assert crossed_half_width(values, 2.0) == pytest.approx((of_images**2 + 4) ** 0.5)


def test_it_is_the_pigeonhole_bootstraps_interval_where_seeds_are_many() -> None:
    generator = np.random.default_rng(0)
    values = drawn(generator, 60, 0.5, 1.0)
    assert half_of(values) == pytest.approx(pigeonhole(values, generator), rel=0.1)


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.3, 0.1), (0.1, 1.0), (0.0, 1.0)])
def test_it_covers_with_three_seeds_whichever_varies_more(of_seeds: float, of_images: float) -> None:
    generator = np.random.default_rng(0)
    many = [drawn(generator, 3, of_seeds, of_images) for _ in range(600)]
    covered = np.mean([abs(values.mean()) <= half_of(values) for values in many])
    assert 0.93 < covered <= 1.0
    if of_seeds > of_images:  # why it is not the bootstrap's percentiles
        assert np.mean([abs(values.mean()) <= pigeonhole(values, generator) for values in many[:200]]) < 0.85


def record(known: Callable[[Config, int], bool], images: int = 359) -> Recorded:
    """A baseline and hinge, three seeds each; the images that a seed gets right are kept where `known` says so."""
    trials, generator, files = [], np.random.default_rng(0), {}
    for config in (Config(), HINGE):
        for seed in range(3):
            correct = generator.random(images) < 0.7
            name = f"{config.loss}-{seed}"
            trials.append(trial(name, {seed: [0.5, 1 - float(correct.mean())]}, config))
            if known(config, seed):
                files[name, CORRECT] = {f"seed_{seed}": np.packbits(correct)}
    made = Recorded(trials, sweep(table()))
    made.files |= files
    return made


def test_a_difference_is_crossed_over_the_images_of_the_same_seeds(tmp_path: Path) -> None:
    source = record(lambda config, seed: True)
    trainings = replicates(source.histories())
    correct = {key: correct_images(source, training) for key, training in trainings.items()}
    base, hinge = (np.stack(list(correct[config.key("abc")].values())).astype(float) for config in (Config(), HINGE))
    assert base.shape == (3, 359), "the bits that fill the last byte are no images"
    (effect,) = paired_effects([table()], trainings, correct=correct)
    assert effect.differences == pytest.approx((base - hinge).mean(1))
    half = half_of(base - hinge)
    assert effect.new_images_interval == pytest.approx((effect.mean - half, effect.mean + half))
    page = page_of(tmp_path, source)
    assert "2 of 2 distinct rows have one" in page and "for 1 of 1 tested changes" in page
    assert f"± {half_width((1 - base.mean(1)).tolist()):.4f} ({half_of(base):.4f} with new images)" in page


def test_a_row_of_unknown_images_has_no_such_interval_and_that_is_said(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(lambda config, seed: config != HINGE))
    assert "1 of 2 distinct rows have one" in page and "for 0 of 1 tested changes" in page


def test_a_row_of_which_a_training_diverged_has_no_such_interval(tmp_path: Path) -> None:
    made = record(lambda config, seed: True)
    (last,) = [each for each in made.histories() if each.name == "hinge-2"]
    last.histories["test_error/seed_2"][-1] = (2, 0.95)
    page = page_of(tmp_path, made)
    assert "1 of 2 distinct rows have one" in page
    assert ", 0.9500 |" in page, "its seeds stand one by one"


def test_the_images_of_some_seeds_do_for_all_and_that_is_said(tmp_path: Path) -> None:
    source = record(lambda config, seed: config != HINGE or seed != 1)
    page = page_of(tmp_path, source)
    assert "2 of 2 distinct rows have one" in page and "for 1 of 1 tested changes" in page
    assert "Where the record has these images of some seeds only" in page
    trainings = replicates(source.histories())
    correct = {key: correct_images(source, training) for key, training in trainings.items()}
    (effect,) = paired_effects([table()], trainings, correct=correct)
    assert (len(effect.seeds), effect.image_seeds) == (3, 2)
    assert effect.interval and effect.new_images_interval
    assert effect.new_images_interval[0] < effect.interval[0] and effect.interval[1] < effect.new_images_interval[1]


def test_it_covers_where_the_images_of_two_of_six_seeds_are_known() -> None:
    generator = np.random.default_rng(0)
    many = [drawn(generator, 6, 0.1, 1.0) for _ in range(600)]
    halves = [crossed_half_width(values[:2], half_width(values.mean(1).tolist()) or 0.0) for values in many]
    assert 0.93 < np.mean([abs(values.mean()) <= half for values, half in zip(many, halves, strict=True)]) <= 1.0


def test_images_of_a_training_whose_error_does_not_count_are_unknown() -> None:
    first, again = (trial(name, {0: [error]}, Config()) for name, error in (("first", 0.25), ("again", 0.5)))
    source = Recorded([first, again])
    source.files["again", CORRECT] = {"seed_0": np.packbits([True, False])}
    (training,) = replicates([first, again]).values()
    assert correct_images(source, training) == {}
    source.files["first", CORRECT] = {"seed_0": np.packbits([True, True, True, False])}
    assert correct_images(source, training)[0].tolist() == [True, True, True, False]
    for no_fit in ([True] * 24, [False] * 8):
        source.files["first", CORRECT] = {"seed_0": np.packbits(no_fit)}
        assert correct_images(source, training) == {}, "they are those of another training"
