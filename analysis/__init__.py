"""From recorded trials to tables, statistics and pictures.

Importing the package sets the process's environment and its log levels (see `analysis.environment`): several libraries
read them once, at their own import. `sweeps` imports this package for the same reason, so they are set before MLflow
and Ray are imported, whichever of the two packages comes first.
"""

from analysis.environment import set_up

set_up()
