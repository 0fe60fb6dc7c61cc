"""A config as the text of a file that trains it again: python sweeps/full.py --config FILE"""

import yaml

from trainable.config import Config


def config_text(name: str, config: Config, about: str) -> str:
    """The content of the file. `about` stands above as comments, a line each."""
    comments = "".join(f"# {line}".rstrip() + "\n" for line in about.splitlines())
    named = {"name": name, "config": {"data": config.data, "epochs": config.epochs, **config.canonical()}}
    return comments + yaml.safe_dump(named, sort_keys=False)
