"""The tensors of a file by name, and the errors about files of weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vitrun.errors import ExitCode, UserError, out_of_memory_error
from vitrun.runtime.memory import lacks_memory

Shapes = dict[str, tuple[int, ...]]
JsonObject = dict[str, Any]  # such as a config.json, whose values depend on the library that wrote it
MAX_KEYS = 4  # names of tensors in a message
MAX_KEY_LENGTH = 40  # characters of a name in a message
MAX_REASON_LENGTH = 120  # characters of another library's error in a message


class Weights(Mapping[str, Tensor]):
    """The tensors of a file by name, each read when it is needed; ``shapes`` and ``metadata`` are read at once."""

    def __init__(self, path: Path, shapes: Shapes, get_tensor: Callable[[str], Tensor], metadata: JsonObject):
        self.path, self.shapes, self.get_tensor, self.metadata = path, shapes, get_tensor, metadata

    def __getitem__(self, name: str) -> Tensor:
        return self.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def rename(self, sources: Mapping[str, str]) -> "Weights":
        """Return the tensors under other names: ``sources`` maps each new name to the one in this file."""
        shapes = {name: self.shapes[source] for name, source in sources.items()}
        return Weights(self.path, shapes, lambda name: self[sources[name]], self.metadata)


def weights_error(path: Path, why: str) -> UserError:
    """Return a UserError about a file of weights."""
    return UserError(f"{path}: {why}", ExitCode.CHECKPOINT)


def damaged_error(path: Path, kind: str, error: Exception) -> UserError:
    """Return a UserError for a truncated or overwritten file, on which readers fail with errors of any class."""
    if lacks_memory(error, path):
        return out_of_memory_error(error)
    text = str(error).rpartition("WeightsUnpickler error: ")[2]  # what torch found, without its advice before that
    reason = (text.strip().splitlines() or [type(error).__name__])[0][:MAX_REASON_LENGTH].rstrip(".")
    return weights_error(path, f"this is not a complete {kind}: {reason}.")


def format_keys(keys: Iterable[str]) -> str:
    """Return the first of many names, each shortened, and the number of the others."""
    keys = list(keys)
    first = ", ".join(shorten(key) for key in keys[:MAX_KEYS])
    return first if len(keys) <= MAX_KEYS else f"{first} and {len(keys) - MAX_KEYS} more"


def shorten(key: str) -> str:
    """Return a name without its middle if it is long."""
    half = MAX_KEY_LENGTH // 2 - 2
    return key if len(key) <= MAX_KEY_LENGTH else f"{key[:half]}...{key[-half:]}"
