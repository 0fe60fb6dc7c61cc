"""The sweep service. `analysis` is imported first: it sets up the environment before Ray and MLflow are imported."""

import analysis  # noqa: F401
