"""`sweeps/full.py` on nodes whose GPUs are fake: a trial that is given one trains on the CPU. It would fail otherwise,
because torch cannot use such a GPU."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.commandline.commands import run_command
from sweeps.full import app
from sweeps.running import sweep
from sweeps.running.trials import run_trials
from trainable.tune_trainable import TuneTrainable


class OnCpu(TuneTrainable):
    """Trains on the CPU, whatever its resources are."""

    def setup(self, config: dict[str, Any]) -> None:
        self._device = "cpu"
        self._begin(config)


if __name__ == "__main__":
    sweep.run_trials = partial(run_trials, trainable=OnCpu)
    run_command(app)
