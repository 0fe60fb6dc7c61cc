"""Runs a file of one's own and those that it imports, and calls the function that it defines.

This is done for a config that a person asks to train, and never for one that was only read from a record.
"""

import builtins
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from trainable.config import Config
from trainable.device import is_of_gpu, is_out_of_memory, random_numbers
from trainable.errors import UsageError, first_line
from trainable.own_code.code_file import ARGUMENTS, Arguments, CodeFile, SourceFile

IMPORTABLE = "an import statement finds installed packages and, by their plain names, files that lie beside it"
SEED = 0
"""Of torch's generator, where code is tried."""


class OwnCodeError(UsageError):
    """Code of one's own cannot be used. The message names the field, the file and the problem."""

    @classmethod
    def of(cls, field: str, file: CodeFile, problem: str) -> "OwnCodeError":
        """The error of a field's file."""
        return cls(f"{field} {file.file}: {problem}")


@contextmanager
def problems_of(field: str, file: CodeFile, doing: str = "") -> Iterator[None]:
    """Turns what the code raises into an `OwnCodeError` that says what it was doing, and in which line. What says that
    memory ran out, or that a GPU is broken, passes: the code is not to blame."""
    try:
        yield
    except OwnCodeError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error) or is_of_gpu(error):
            raise
        not_found = isinstance(error, ModuleNotFoundError) or "relative import" in str(error)
        hint = f" ({IMPORTABLE})" if not_found else ""
        problem = f"{doing}{_line(file, error)}{type(error).__name__}: {first_line(error)}{hint}"
        raise OwnCodeError.of(field, file, problem) from error


@contextmanager
def problems_in(config: Config) -> Iterator[None]:
    """The same for all code of a config while it trains. Errors that no line of it has raised pass."""
    try:
        yield
    except Exception as error:
        for field in config.own_code:
            if _line(file := getattr(config, field), error):
                with problems_of(field, file, "in training: "):
                    raise
        raise


def _line(file: CodeFile, error: BaseException) -> str:
    """The last line of a file, or of one that it imports, through which an error went; empty where there is none."""
    sources = {_path(file): "", **{_path(source): f"{source.file}, " for source in file.imports}}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in sources]
    return f"{sources[frames[-1].filename]}line {frames[-1].lineno}: " if frames else ""


def call_own(field: str, file: CodeFile, arguments: Mapping[str, Any], *given: Any) -> Any:
    """What the file's function of that field returns for what is given first, and for the arguments. Raises
    `OwnCodeError` where the file or the function fails."""
    function = _function(field, file)
    with problems_of(field, file, f"{field}({Arguments(arguments)}): "):
        return function(*given, **arguments)


@contextmanager
def tried() -> Iterator[None]:
    """Within it, code is tried: its random numbers are the same each time, those outside are left alone, and what it
    prints stands apart from what the command prints."""
    with random_numbers(SEED, torch.device("cpu")), redirect_stdout(sys.stderr):
        yield


def images_to_try(images: int, pixels: int) -> Tensor:
    """Images (N, 3, P, P) in [-1, 1] on which code is tried."""
    return torch.linspace(-1, 1, images * 3 * pixels**2).view(images, 3, pixels, pixels)


@cache
def _function(field: str, file: CodeFile) -> Callable[..., Any]:
    with problems_of(field, file):
        function = getattr(_modules(file).load(file.file.removesuffix(".py")), field, None)
        parameters = inspect.signature(function).parameters if callable(function) else {}
    if not callable(function):
        raise OwnCodeError.of(field, file, f"must define a function {field}")
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:  # a default and its value would be one training under two keys
            raise OwnCodeError.of(
                field,
                file,
                f"{field}({name}={parameter.default!r}): remove the default, and give the value in {ARGUMENTS[field]}, "
                "where the record shows it",
            )
    return function


class _Modules:
    """The modules of a file and of those beside it that it imports. Other files of the same names, whose text another
    config has, may run in the same process: so an import statement in them finds them here, and nobody else does."""

    def __init__(self, file: CodeFile) -> None:
        self._sources = {source.file.removesuffix(".py"): source for source in (file, *file.imports)}
        self._loaded: dict[str, ModuleType] = {}
        self._prefix = f"own_code_{file.digest}"

    def load(self, name: str) -> ModuleType:
        """The module of that name, which runs when it is first asked for. It is registered, and its text kept for
        tracebacks, as an import would do."""
        if name in self._loaded:  # also where it still runs, and imports what imports it
            return self._loaded[name]
        source = self._sources[name]
        path, module = _path(source), ModuleType(f"{self._prefix}_{name}")
        module.__dict__.update(__file__=path, __builtins__=vars(builtins) | {"__import__": self._import})
        self._loaded[name] = sys.modules[module.__name__] = module
        linecache.cache[path] = len(source.code), None, source.code.splitlines(keepends=True), path
        try:
            with torch.random.fork_rng(devices=[]):
                exec(compile(source.code, path, "exec"), module.__dict__)
        except BaseException:
            del self._loaded[name], sys.modules[module.__name__]
            raise
        return module

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What `__import__` does."""
        if level == 0 and name in self._sources:
            return self.load(name)
        return builtins.__import__(name, globals, locals, fromlist, level)


_modules = cache(_Modules)


def _path(source: SourceFile) -> str:
    """The file's name in tracebacks."""
    return f"<{source}>"
