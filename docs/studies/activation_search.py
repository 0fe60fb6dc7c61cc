"""A search of one's own: python sweeps/full.py --study docs/studies/activation_search.py --samples 20

A Python study is for what is awkward to write down: here a start point for each activation.
"""

from trainable.search_definition import SearchDefinition, StartPoint
from trainable.search_space import Choice, Range
from trainable.study import Study

ACTIVATIONS = ("relu", "tanh", "softplus")

STUDY = Study(
    name="activation-search",
    title="Which activation, at its own learning rate?",
    search=SearchDefinition(
        fixed={"batch_norm": True},
        space={
            "activation": Choice(choices=ACTIVATIONS),
            "lr": Range(low=1e-4, high=3e-2, log=True),
        },
        start=tuple(
            StartPoint(
                values={"activation": activation},
                source="the course report's table 5, with batch norm",
                reference=activation == "relu",
            )
            for activation in ACTIVATIONS
        ),
    ),
)
