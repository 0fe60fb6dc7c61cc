"""The search for the best batch-norm configuration as a command:

    python sweeps/search.py --samples 40
    python sweeps/search.py --calibrate 20

It is `python sweeps/full.py` with the search as the default study. `--calibrate` trains random configs of the space to
their end instead, so that the report shows how early the end of a training can be foretold.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # run by its path, as Ray jobs do: import the packages beside this folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from analysis.commandline.start import start

    start()

from sweeps.full import run_studies
from sweeps.studies.search import SEARCH

if __name__ == "__main__":
    run_studies([SEARCH.name], "Search for the best batch-norm configuration, prove it, and report.")
