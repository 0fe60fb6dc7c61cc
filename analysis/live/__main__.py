"""A page that shows a sweep while it runs, from the record alone: how far it is, each table and the search so far.

    python -m analysis.live --experiment ablations-cifar10
    python -m analysis.live --tracking-uri http://server:5000 --sweep NAME

It changes no result. It may run wherever the record can be read, and makes the page when a browser asks for it.
"""

if __name__ == "__main__":
    from analysis.commandline.start import start

    start()

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from analysis.commandline.commands import command_line, run_command
from analysis.commandline.record_options import EXPERIMENT, TRACKING_URI, Experiment, TrackingUri
from analysis.commandline.start import interrupt_once
from analysis.live import sections
from analysis.live.followed import FollowedRecord
from analysis.live.progress import progress_of
from analysis.live.server import page_server
from analysis.record.opening import open_swept, unknown_sweep
from analysis.report_data import ReportData
from analysis.writing.page import html_page

REFRESH_S = 10.0
"""Seconds between two updates of an open page."""

app = command_line()


def live_page(record: FollowedRecord, sweep: str = "") -> str:
    """The page as it is now. See `FollowedRecord.look`."""
    moment = record.look(sweep)
    with tempfile.TemporaryDirectory() as folder:
        data = ReportData(moment, Path(folder))
        found = progress_of(moment.sweep, moment.trials, data.searches, time.time())
        groups = [sections.tables(found, data)] if found.tables else []
        if data.effects:
            groups.append(sections.effects(data))
        if data.searches:
            groups.append(sections.searches(found, data.folder))
        opening = [sections.summary(found, silent=moment.silent, others=moment.others)]
        return html_page(f"Live: {data.data_set}", opening, groups, embed=True, refresh_s=REFRESH_S)


@app.command()
def main(
    sweep: Annotated[str, typer.Option(help="Default: the latest sweep that runs, or the latest of all.")] = "",
    tracking_uri: TrackingUri = TRACKING_URI,
    experiment: Experiment = EXPERIMENT,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on localhost; 0 takes a free one.")] = 8600,
) -> None:
    """Serve the page until Ctrl-C."""
    record = open_swept(tracking_uri, experiment)
    if sweep and sweep not in [each.name for each in record.sweeps()]:
        raise unknown_sweep(sweep, tracking_uri, experiment)
    followed = FollowedRecord(record)
    with page_server(lambda: live_page(followed, sweep), port) as server:
        print(f"http://localhost:{server.server_port}/ shows it; Ctrl-C ends this", flush=True)
        interrupt_once()
        server.serve_forever()


if __name__ == "__main__":
    run_command(app)
