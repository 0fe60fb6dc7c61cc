"""Training with torch: a config and a data set become trained networks and their errors, epoch by epoch. Also the types
that studies and searches are written in: `study`, `search_definition`, `search_space` and `measures`.

The plain-Python entry point is `trainable.training.train`. Only `trainable.tune_trainable` imports Ray, and no module
imports MLflow.

The end of a tensor's name lists its dimensions in order: `losses_ts` holds one loss for each step (t) and each seed
(s). Docstrings write the same letters in capitals, as in (T, S).

| letter | dimension |
|---|---|
| n | images: of a batch, an epoch or a split |
| s | seeds that are trained together, each with a network of its own |
| c, h, w | channels, height and width of an image or of a layer's output |
| i, o | inputs and outputs of a linear layer |
| k | classes |
| t | training steps |
| a | values that describe one image's random augmentation |
| p | parameters of one network |
| e | step sizes of a probe along the gradient |
| m | quantities that a probe measures |
| b | bytes of packed bits |
| 1 | a dimension of size one, kept for broadcasting |

In a fused network (see `trainable.fused`) the seeds lie side by side in the second dimension: it has S times the
channels, features or scores and keeps their letter.
"""
