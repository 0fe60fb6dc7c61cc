"""From recorded trials to tables, statistics and pictures: `record` reads them, `statistics` computes, the modules here
put together what the course report and the searches ask, `plots` and `sections` show it, `writing` writes it.

Importing the package sets the process's environment and its log levels (see `analysis.commandline.environment`):
several libraries read them once, at their own import. `sweeps` imports this package for the same reason, so they are
set before MLflow and Ray are imported, whichever of the two packages comes first.
"""

from analysis.commandline.environment import set_up

set_up()
