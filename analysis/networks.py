"""Networks of the course report, as changes to its baseline."""

BATCH_NORM = {"batch_norm": True}
BIGGER = {"channels": (64, 128), "hidden": (512, 512)}
SMALLER = {"channels": (4, 8), "hidden": (32, 32)}
