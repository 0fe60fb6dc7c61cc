"""A config as the text of a file that trains it again: python sweeps/full.py --config FILE"""

import yaml

from trainable.config import Config
from trainable.image_set import BUILT_IN


def config_text(name: str, config: Config, about: str) -> str:
    """The content of the file. `about` stands above as comments, a line each."""
    comments = "".join(f"# {line}".rstrip() + "\n" for line in about.splitlines())
    named = {"name": name, "config": {"data": config.data.name, "epochs": config.epochs, **config.canonical()}}
    return comments + yaml.dump(named, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def train_again(config: Config, file: str, seeds: int) -> str:
    """The command that trains the config in a file again. Images of one's own must be named."""
    where = "" if config.data.name in BUILT_IN else " --data-dir FOLDER"
    return f"python sweeps/full.py --config {file} --seeds {seeds}{where}"


class _Dumper(yaml.SafeDumper):
    """Writes the text of a file line by line, and quotes what YAML 1.2 takes for a number, as 1e-3."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        float(text)
        style: str | None = "'"
    except ValueError:
        style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)
