"""What a person sees of a sweep before it runs: the plan and its forecast."""

from rich.console import Console
from rich.table import Table

from analysis.writing.words import counted, duration
from sweeps.planning.forecast import Forecast
from sweeps.planning.power import MOST_TRIED, POWER, PowerForecast
from sweeps.screen import print_table


def print_plan(console: Console, forecast: Forecast) -> None:
    """Each distinct config with the rows that it serves and what is left of it, then the forecast."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for column in ("config", "key", "rows", "seeds to run", "recorded", "forecast"):
        table.add_column(column, no_wrap=column in ("config", "key"), overflow="fold")
    for config in forecast.configs:
        seeds, recorded = (", ".join(map(str, some)) or "-" for some in (config.seeds, config.recorded_seeds))
        time = duration(config.forecast_s) if config.seeds else "-"
        table.add_row(config.name, config.key, ", ".join(config.rows), seeds, recorded, time)
    if forecast.configs:
        print_table(console, table)
    print_forecast(console, forecast)
    data = forecast.data
    console.print(
        f"data: {data.name}, {data.classes} classes, {data.train:,} train and {data.test:,} test images of "
        f"{data.size}x{data.size} pixels, {data.form}, fingerprint {data.fingerprint}"
    )
    if forecast.of_other_images:
        trials = counted(forecast.of_other_images, "recorded trial")
        console.print(f"{trials} on {data.name} had other images and do not count", style="yellow")
    for file, count in forecast.of_other_code.items():
        trials = counted(count, "recorded trial")
        console.print(f"not counted, because they used another version of {file}: {trials}", style="yellow")
    record = forecast.record
    missing = "" if record.exists else " (does not exist yet)"
    console.print(f"record: experiment {record.experiment!r} in {record.tracking_uri}{missing}", soft_wrap=True)


def print_forecast(console: Console, forecast: Forecast) -> None:
    """What is to run, for how long, on what and for how much money."""
    trial = forecast.resources
    memory = f" with {trial.gpu_memory_per_trial:g} GB" if trial.gpu_memory_per_trial else ""
    slots = f"{counted(forecast.slots, 'slot')} of {trial.cpus_per_trial:g} CPU and {trial.gpus_per_trial:g} GPU"
    console.print(
        f"tables: {counted(forecast.rows, 'row')}, {counted(forecast.distinct, 'distinct config')}, "
        f"{forecast.recorded} complete; {counted(forecast.to_run, 'trial')} to run in about "
        f"{duration(forecast.forecast_s)} on {slots}{memory}, from {forecast.forecast_basis}"
    )
    if power := forecast.power:
        console.print(power_line(power))
    if forecast.gpus_assumed:
        console.print("the cluster was not asked: it is taken to have GPUs; --gpus-per-trial 0 counts its CPUs alone")
    if forecast.slots_assumed:
        console.print(
            "the cluster was not asked how many slots it has: times are for one, and a budget buys the time of one; "
            "--slots says how many trials run at once",
            style="yellow",
        )
    if not trial.gpus_per_trial:
        console.print("no GPU was requested or found: trials run on CPUs")
    for same in forecast.same_trainings:
        console.print(f"table {same.table}: {' and '.join(same.rows)} are the same training", style="yellow")
    if forecast.bf16_total_s is not None and forecast.total_s:
        saved = 1 - forecast.bf16_total_s / forecast.total_s
        change = f"{saved:.0%} less" if saved >= 0 else f"{-saved:.0%} more"
        console.print(
            f"--precision bf16 would take {change} time, by the trainings that the record has in both on "
            f"{forecast.bf16_device}"
        )
    if surfaces := forecast.surfaces:
        later = f", {surfaces.later} of them once their networks are trained" if surfaces.later else ""
        console.print(f"loss surfaces: {surfaces.to_run} to compute in about {duration(surfaces.forecast_s)}{later}")
    if search := forecast.search:
        console.print(
            f"search: {counted(search.samples, 'sample')}, {search.recorded} recorded, {search.to_run} to run in about "
            f"{duration(search.forecast_s)}"
        )
        if search.budget_left_s is not None:
            console.print(f"search: its budget leaves {duration(search.budget_left_s)}, with all slots at work")
        if search.race_s or search.proof_s:
            console.print(
                f"search: the race of its best takes at most {duration(search.race_s)}, the winner's proof "
                f"{duration(search.proof_s)}"
                + (f", undoing its changes {duration(search.differences_s)}" if search.differences_s else "")
            )
        if search.outside:
            console.print(f"search: {search.outside} recorded trials lie outside its space now and are left out")
    if forecast.total_s:
        money = f", {forecast.cost:.2f} at the given prices" if forecast.cost is not None else ""
        overhead = f"of which starts and the report take {duration(forecast.overhead_s)}"
        console.print(f"all of it: about {duration(forecast.total_s)}, {overhead}{money}")


def power_line(power: PowerForecast) -> str:
    """What the planned seeds can show, in one line."""
    found = "no difference can be shown"
    if power.difference is not None:
        found = f"a difference of {power.difference:.4f} is found in {POWER:.0%} of cases"
    if power.largest is not None:
        found += f" (in the median row; {power.largest:.4f} in the one that varies most)"
    return (
        f"study {power.study}: with {counted(power.seeds, 'seed')} per row, {found}; {power.margin:g} needs "
        f"{power.seeds_needed or f'more than {MOST_TRIED}'} seeds (if errors vary as the recorded ones do; Holm's "
        f"correction over {counted(power.comparisons, 'change')})"
    )
