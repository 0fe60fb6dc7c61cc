"""The console script, which prepares the process before its imports."""

from analysis.commandline.start import start


def main() -> None:
    """The console script `ablation-sweeps`: the same as `python sweeps/full.py`."""
    start()
    from analysis.commandline.commands import run_command
    from sweeps.full import app

    run_command(app)
