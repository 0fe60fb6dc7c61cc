"""Resolves a study's search: applies what the sweep changes, and checks the result."""

from collections.abc import Mapping
from typing import Any

from sweeps.planning.table_plan import make_config, try_own_code
from trainable.change import combine
from trainable.errors import UsageError
from trainable.own_code.code_file import ARGUMENTS
from trainable.resolved_search import ResolvedSearch
from trainable.search_definition import PROTOCOL
from trainable.search_space import changed, searched
from trainable.study import Study
from trainable.value_text import value_text

SAMPLER = (
    "Optuna's TPE, which models parameters together that exist together; trials that still run count as bad, so that "
    "slots do not repeat each other"
)
SEED = 0
"""Every config of a search is trained for this seed alone."""


def resolve_search(study: Study, *, base: Mapping[str, Any], samples: int, fingerprint: str) -> ResolvedSearch:
    """A study's search as it is run. `base` are the fields that the sweep changes in every config, as by `--set`.

    Raises `UsageError` where what the sweep changes or what the search fixes does not go together with its space.
    """
    definition = study.required_search
    baseline = study.changed_baseline(base)
    fixed = {**PROTOCOL, **definition.fixed}
    if decided := changed(base) & (searched(definition.space) | changed(fixed)):
        raise UsageError(f"--set {min(each.field for each in decided)}: the search of study {study.name} decides it")
    where = f"study {study.name}, its search"
    unsearched = make_config(fixed, baseline, where)
    for change in definition.configs_to_check(unsearched):
        config = make_config(combine(fixed, change), baseline, f"{where} space")
        try_own_code(config, f"{where} space")
        for name, value in change.items():
            # else recorded trials would not be recognised
            if name not in ARGUMENTS.values() and value != getattr(config, name):
                raise UsageError(f"{where} space: {name} {value!r} must be written as {getattr(config, name)!r}")
    epochs = unsearched.epochs * definition.epochs_factor
    resolved = ResolvedSearch(
        study=study.name,
        title=study.title,
        fingerprint=fingerprint,
        base=make_config({**fixed, "epochs": epochs}, baseline, where),
        space=definition.space,
        start=definition.start,
        scheduler=definition.scheduler,
        race=definition.race,
        sampler=SAMPLER,
        seeds=(SEED,),
        samples=samples,
        winner=definition.winner or f"best_{study.name.replace('-', '_')}",
        goal=definition.goal,
    )
    if (grace := resolved.scheduler.grace or 1) > resolved.base.epochs:
        raise UsageError(f"study {study.name}, its scheduler: grace {grace} is above the {resolved.base.epochs} epochs")
    for number, point in enumerate(resolved.start, start=1):
        for name, value in resolved.start_values(point).items():
            if not resolved.space[name].contains(value):
                raise UsageError(
                    f"study {study.name}, start point {number} of its search: {name} {value_text(value)} is not "
                    f"in the space ({resolved.space[name]})"
                )
    return resolved
