"""The batch-norm study as a command:

    python sweeps/bn_study.py
    python sweeps/bn_study.py --studies vgg

It is `python sweeps/full.py` with the studies of `sweeps/studies/batch_norm.py` as the default.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # run by its path, as Ray jobs do: import the packages beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from analysis.commandline.start import start

    start()

from sweeps.full import run_studies
from sweeps.studies.batch_norm import BATCH_NORM_STUDIES

if __name__ == "__main__":
    names = (study.name for study in BATCH_NORM_STUDIES)
    run_studies(names, "Study batch norm: its loss envelope, its smoothness, its loss surface, and VGG-A.")
