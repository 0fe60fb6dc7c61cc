"""The one place that sets environment variables and log levels. It imports nothing heavy."""

import logging
import os
import sys
import warnings

VARIABLES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the recorder tries again itself, without blocking
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # three tries are shorter than a sweep may be silent
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # MLflow would draw a bar for each small file
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would stand among the results, twice a run
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # MLflow sets its own level and alembic's from it when it is imported
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else workers under `uv run` make environments of their own
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # nothing reads these files: MLflow is the record
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",  # Ray Train's state is not used
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune would print its own progress beside our display
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # our display prints each error in one line
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # after Ctrl-C; the epoch that has begun is lost in any case
    "TUNE_GLOBAL_CHECKPOINT_S": "600",  # Tune's own state is not what a sweep resumes from
}
"""Environment variables. A value that the user has set stays."""

REMOVED = (
    "GIT_DIR",  # the commit that is recorded would be that of another repository
    "GIT_WORK_TREE",
    "MLFLOW_ENABLE_ASYNC_LOGGING",  # what MLflow then fails to write, it does not tell
    "TUNE_DISABLE_SIGINT_HANDLER",  # without Tune's handler Ctrl-C ends a sweep in the middle of a write
    "PYTHONWARNINGS",  # as errors, warnings end workers in the middle of an import
)
"""Environment variables that other tools set, as a git hook does, and that a sweep must not follow."""

UNSET_IF_EMPTY = ("OMP_NUM_THREADS", "RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR")
"""Environment variables whose readers take an empty value for a number, an address or a folder."""

LOG_LEVELS = {
    # Optuna sets the level of its logger "optuna" when it is imported, but leaves those of the loggers below alone
    "optuna.storages": logging.WARNING,  # it reports every new study
    "optuna.study": logging.WARNING,  # it reports every trial
    "ray.tune": logging.CRITICAL,  # our display prints in one line what Tune repeats
}
"""The least severe messages that are printed, by logger."""


def set_up() -> None:
    """Set and remove variables, and set the log levels. It must run before MLflow and Ray are imported; running it
    again changes nothing."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for name in (*REMOVED, *(name for name in UNSET_IF_EMPTY if not os.environ.get(name, "").strip())):
        os.environ.pop(name, None)
    if any(option.startswith("error") for option in sys.warnoptions):  # from PYTHONWARNINGS or -W
        warnings.simplefilter("ignore")
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
