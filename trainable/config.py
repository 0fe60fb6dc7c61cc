"""What a training computes: a frozen, validated config and its key. Imports no torch, so that planning
stays fast.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from trainable.image_set import CIFAR10, Data
from trainable.own_code.code_file import ARGUMENTS, Arguments, CodeArguments, CodeFile, or_file
from trainable.value_text import value_text

RECIPE = 1
"""Version of the training recipe. Raise it when the same config would train to other numbers."""

Protocol = Literal["A", "B"]
VALIDATION_FRACTION = 0.1
"""The share of every class in the train split that protocol B holds out."""
Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
SET_BY_OPTIONS = ("data", "epochs", "precision")
"""Fields of `Config` that options of a sweep set."""
OF_ANY_TRAINING = ("data", "protocol", "epochs", "training", "training_arguments")
"""Fields of `Config` that act on a training of one's own."""
OF_BUILT_IN = ("activation", "batch_norm", "dropout")
"""Fields of `Config` that act on the built-in networks alone, besides those of one of them."""
VGG_A_SMALLEST = 32
"""Height and width of the smallest images that `vgg-a`, which halves them five times, can take."""
MOST_CHARACTERS = 64_000
"""Characters of a config's canonical form as JSON, which each trial's run has in its tags."""
Width = Annotated[int, Field(ge=1, le=4096)]


NetworkName = Literal["cnn", "vgg-a"]
LossName = Literal["cross_entropy", "hinge"]
OptimizerName = Literal["adam", "adamw", "sgd", "momentum", "adagrad", "muon"]
ScheduleName = Literal["constant", "cosine", "one_cycle"]
TrainingName = Literal["built_in"]
Network = Annotated[NetworkName | CodeFile, or_file(*get_args(NetworkName))]
Loss = Annotated[LossName | CodeFile, or_file(*get_args(LossName))]
Optimizer = Annotated[OptimizerName | CodeFile, or_file(*get_args(OptimizerName))]
Schedule = Annotated[ScheduleName | CodeFile, or_file(*get_args(ScheduleName))]
Training = Annotated[TrainingName | CodeFile, or_file(*get_args(TrainingName))]


class Config(BaseModel):
    """Everything that decides what a training computes, and nothing else.

    The defaults are the course report's baseline: a config is described by the fields that differ from it. Raises
    `pydantic.ValidationError` for a bad value or an unknown field, with the field's name and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: Data = CIFAR10
    """The data set: `cifar10`, `digits`, or one of one's own, in a folder of images."""
    protocol: Protocol = "A"
    """A: train on the whole train split and watch the test error, as the course report did. B: hold out a fixed,
    stratified tenth for validation and leave the test split alone."""
    network: Network = "cnn"
    """`cnn`: two convolutions and three linear layers. `vgg-a`: the 11-layer VGG with hidden linear layers of 512. Or a
    network of one's own, in a Python file."""
    network_arguments: CodeArguments = Arguments()
    """What the file's `network` is called with: numbers, texts, true, false and lists of these, by name."""
    channels: tuple[Width, Width] = (16, 32)
    """Output channels of the two convolutions of `cnn`."""
    hidden: tuple[Width, Width] = (128, 128)
    """Widths of the two hidden linear layers of `cnn`."""
    activation: Literal["relu", "tanh", "softplus"] = "relu"
    """The activation after every layer but the last."""
    batch_norm: bool = False
    """Batch normalisation before every activation."""
    bn_momentum: float = Field(default=0.1, gt=0, le=1)
    """Weight of the newest batch in the running statistics of batch norm."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability to drop a channel (convolutions) or a unit (linear layers) before each activation."""
    loss: Loss = "cross_entropy"
    """`hinge` is the multi-class hinge loss with p=1 and margin 1. Or a loss of one's own, in a Python file."""
    loss_arguments: CodeArguments = Arguments()
    """What the file's `loss` is called with, after the network and the batch."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of the cross-entropy."""
    optimizer: Optimizer = "adam"
    """`momentum` is SGD with `momentum`. `muon` makes the steps of weight matrices orthogonal (Jordan et al. 2024) and
    trains the other parameters as `adamw` does. `adamw` and `muon` decouple the weight decay, the others couple it. Or
    an optimizer of one's own, in a Python file."""
    optimizer_arguments: CodeArguments = Arguments()
    """What the file's `optimizer` is called with, after the parameters, the learning rate and the weight decay."""
    lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    """Learning rate; the peak, where the schedule is not constant."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the `momentum` optimizer."""
    nesterov: bool = False
    """Nesterov's form of that momentum (Sutskever et al. 2013)."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight decay of every parameter, but see `decay_norm_and_bias`."""
    decay_norm_and_bias: bool = True
    """Whether weight decay acts on batch norm's parameters and on biases, too. He et al. 2018 (arXiv 1812.01187,
    section 3.1) leave them out."""
    bn_bias_lr_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Multiplies the learning rate of batch norm's biases (Jordan 2024, arXiv 2404.00498). Their weight decay grows
    with the learning rate, as torch's optimizers have it."""
    schedule: Schedule = "constant"
    """Learning rate by step, over the whole training. With `adam` and `adamw`, `one_cycle` also varies beta1. Or a
    schedule of one's own, in a Python file."""
    schedule_arguments: CodeArguments = Arguments()
    """What the file's `schedule` is called with, after the share of the steps that is done."""
    warmup: float = Field(default=0.3, gt=0, lt=1)
    """Share of the steps in which the learning rate of `one_cycle` rises (Smith & Topin 2017, arXiv 1708.07120)."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average, by step, of the weights and of batch norm's running statistics (Morales-Brotons et al.
    2024, arXiv 2411.18704). Above 0, the averaged network is evaluated and recorded, and the held-out error of the
    network that is trained becomes a further metric (`raw_test_error`)."""
    batch_size: int = Field(default=128, ge=2, le=65536)
    """Images a step; the last partial batch of an epoch is kept."""
    epochs: int = Field(default=20, ge=1, le=100_000)
    """Passes over the train split."""
    flip: bool = False
    """Mirror train images."""
    flip_mode: Literal["random", "alternating"] = "random"
    """`random` mirrors each image with probability 1/2 in each epoch. `alternating` draws this for the first epoch, and
    then mirrors each image in every second epoch (Jordan 2024, arXiv 2404.00498, section 3.6)."""
    shift: int = Field(default=0, ge=0, le=16)
    """Shift each train image by up to this many pixels in both directions (a padded random crop)."""
    cutout: int = Field(default=0, ge=0, le=16)
    """Make a square of this many pixels grey in each train image. Its centre is any pixel of the image, so the border
    may cut the square (DeVries & Taylor 2017, arXiv 1708.04552)."""
    precision: Precision = "fp32"
    """`bf16` runs the forward and backward passes in bfloat16 and keeps the parameters in float32."""
    training: Training = "built_in"
    """`built_in` trains the network as the other fields say. Or a training of one's own, in a Python file, with any
    model: then only `data`, `protocol` and `epochs` have an effect besides."""
    training_arguments: CodeArguments = Arguments()
    """What the file's `training` is called with, after the images, the labels, the seed, the epochs and the device."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse true and false where pydantic would take them for 1 and 0."""
        is_truth = cls.model_fields[field.field_name or ""].annotation is bool
        parts = value if isinstance(value, list | tuple) else (value,)
        if not is_truth and any(isinstance(part, bool) for part in parts):
            raise ValueError(f"{value!r} should not be true or false")
        return value

    @model_validator(mode="after")
    def _no_idle_fields(self) -> "Config":
        """Refuse a field that the rest of the config switches off: it would give one training two keys."""
        with_momentum = self.optimizer == "momentum" and self.momentum > 0
        one_cycle, is_cnn = self.schedule == "one_cycle", self.network == "cnn"
        fields = type(self).model_fields
        acts = {  # whether a field acts, and where
            **{arguments: (field in self.own_code, f"{field} is a file") for field, arguments in ARGUMENTS.items()},
            **dict.fromkeys(OF_BUILT_IN, (not self.has_own_network, "network is cnn or vgg-a")),
            "bn_momentum": (self.batch_norm, "batch_norm is true"),
            "label_smoothing": (self.loss == "cross_entropy", "loss is cross_entropy"),
            "momentum": (self.optimizer == "momentum", "optimizer is momentum"),
            "nesterov": (with_momentum, "optimizer is momentum and momentum is above 0"),
            "decay_norm_and_bias": (self.weight_decay > 0, "weight_decay is above 0"),
            "bn_bias_lr_factor": (self.batch_norm, "batch_norm is true"),
            "warmup": (one_cycle, "schedule is one_cycle"),
            "flip_mode": (self.flip, "flip is true"),
            "channels": (is_cnn, "network is cnn"),
            "hidden": (is_cnn, "network is cnn"),
        }
        if self.has_own_training:
            acts |= {name: (False, "training is built_in") for name in fields if name not in OF_ANY_TRAINING}
        for field, (does_act, where) in acts.items():
            value = getattr(self, field)
            if not does_act and value != fields[field].default:
                raise ValueError(f"{field}: {value_text(value)} has no effect here; it is allowed only where {where}")
        return self

    @model_validator(mode="after")
    def _fits_into_tags(self) -> "Config":
        """Refuse what is too long for the record. Only code of one's own makes a config so long."""
        if (size := len(json.dumps(self.canonical()))) > MOST_CHARACTERS:
            sources = [source for field in self.own_code for source in getattr(self, field).sources]
            sizes = ", ".join(f"{source.file} {len(source.code):,}" for source in sources)
            raise ValueError(
                f"{', '.join(self.own_code)}: with this code ({sizes}) the config has {size:,} characters as JSON; "
                f"allowed: {MOST_CHARACTERS:,}"
            )
        return self

    @model_validator(mode="after")
    def _images_are_large_enough(self) -> "Config":
        if self.network == "vgg-a" and self.data.size < VGG_A_SMALLEST:
            raise ValueError(f"network: vgg-a needs images of {VGG_A_SMALLEST} pixels; those of {self.data} have fewer")
        return self

    @property
    def own_code(self) -> tuple[str, ...]:
        """The fields that are files of the user's own: some of those of `ARGUMENTS`."""
        return tuple(field for field in ARGUMENTS if isinstance(getattr(self, field), CodeFile))

    @property
    def has_own_training(self) -> bool:
        """Whether code of the user's own trains it, and not this project's loop."""
        return "training" in self.own_code

    @property
    def has_own_network(self) -> bool:
        """Whether its network is one of the user's own, or whatever a training of the user's own has in its place."""
        return not {"network", "training"}.isdisjoint(self.own_code)

    @property
    def has_own_step(self) -> bool:
        """Whether code of the user's own takes part in training steps, as all but a schedule does. Then seeds cannot
        train as one program, because it may not treat each of them apart."""
        return not set(self.own_code) <= {"schedule"}

    def canonical(self) -> dict[str, Any]:
        """The fields that differ from the defaults, as plain JSON values. Equal configs have equal canonical forms."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def flat(self) -> dict[str, Any]:
        """All fields as plain JSON values, for a training of one's own those that act on it. Each argument of code of
        one's own is apart, as `network.width`. The data and files are texts that name them."""
        named = {"data": self.data.name} | {field: str(getattr(self, field)) for field in ARGUMENTS}
        fields = self.model_dump(mode="json", exclude=set(ARGUMENTS.values())) | named
        if self.has_own_training:
            fields = {name: value for name, value in fields.items() if name in OF_ANY_TRAINING}
        return fields | {
            f"{field}.{name}": value
            for field, arguments in ARGUMENTS.items()
            for name, value in getattr(self, arguments).items()
        }

    @property
    def ablation(self) -> dict[str, Any]:
        """What is changed in the baseline's network and recipe: the canonical form without data, epochs, precision."""
        return {name: value for name, value in self.canonical().items() if name not in SET_BY_OPTIONS}

    @property
    def setting(self) -> str:
        """The data, the epochs and the precision, as `cifar10, 20 epochs, fp32`."""
        return f"{self.data}, {self.epochs} epoch{'s' * (self.epochs > 1)}, {self.precision}"

    @property
    def is_baseline(self) -> bool:
        """Whether the baseline's network and recipe are unchanged."""
        return not self.ablation

    @property
    def held_out(self) -> str:
        """Name of the metric for the error on images that the training does not see."""
        return {"A": "test_error", "B": "val_error"}[self.protocol]

    @property
    def train_images(self) -> int:
        """Images that an epoch trains on."""
        return sum(self.data.train) - (sum(self._held_out_of_train) if self.protocol == "B" else 0)

    @property
    def held_out_images(self) -> int:
        """Images that the held-out error is measured on."""
        return sum(self._held_out)

    @property
    def chance(self) -> float:
        """The held-out error of a network that has learned nothing: somewhat less than where it gives all images the
        answer that is right most often. For CIFAR-10 it is .89."""
        one_answer = 1 - max(self._held_out) / self.held_out_images
        return round(one_answer - min(one_answer, 1 - one_answer) / 10, 4)

    @property
    def _held_out(self) -> tuple[int, ...]:
        """The held-out images of each class."""
        return {"A": self.data.test, "B": self._held_out_of_train}[self.protocol]

    @property
    def _held_out_of_train(self) -> tuple[int, ...]:
        return tuple(round(images * VALIDATION_FRACTION) for images in self.data.train)

    def text(self, fields: Iterable[str], digits: int | None = None) -> str:
        """Some fields and their values in one line, as `lr 0.01, network residual.py 3f2a9c1b`. For `digits` see
        `value_text`."""
        return ", ".join(f"{name} {value_text(getattr(self, name), digits)}" for name in fields)

    def change(self, **fields: Any) -> "Config":
        """A validated copy with some fields changed."""
        return type(self)(**(self.model_dump() | fields))

    def key(self, fingerprint: str) -> str:
        """The identity of this training on the data with that fingerprint: 16 hexadecimal digits.

        It is the start of a SHA-256 over the recipe's version, the fingerprint and the canonical form.
        """
        identity = {"recipe": RECIPE, "fingerprint": fingerprint, "config": self.canonical()}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
