"""What the packages import is declared: another package that happens to bring it may stop to."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PACKAGES = ("trainable", "sweeps", "analysis")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {canonicalize_name(each.name): each for each in map(Requirement, PROJECT["dependencies"])}


def imported() -> set[str]:
    """The top-level modules of others that the packages import anywhere."""
    found = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import():
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    found.add(module.partition(".")[0])
    return found - {*sys.stdlib_module_names, *PACKAGES}


def test_every_import_is_declared() -> None:
    distributions = packages_distributions()
    undeclared = {
        module
        for module in imported()
        if not DECLARED.keys() & {canonicalize_name(name) for name in distributions.get(module, [module])}
    }
    assert undeclared == set()


@pytest.mark.parametrize("requirement", DECLARED.values(), ids=DECLARED)
def test_the_pinned_version_is_in_the_declared_range(requirement: Requirement) -> None:
    pins = dict(re.findall(r"^(\S+?)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {canonicalize_name(name): pin for name, pin in pins.items()}[canonicalize_name(requirement.name)]
    assert pinned in requirement.specifier
