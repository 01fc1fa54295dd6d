"""Result of a run, as Python gets it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrun.runs.metrics import Metric


@dataclass(frozen=True)
class Result(Mapping[str, Any]):
    """Result of a run: a mapping of plain values, as in ``result["top1"]``, and the run that has it."""

    run: str  # its name
    folder: Path  # that of the run; a dry run has made none
    content: dict[str, Any]

    @property
    def metrics(self) -> "dict[str, Metric]":
        """Return the measured values, with standard deviation, 95 % interval and unit where there are any."""
        from vitrun.runs.metrics import Metric, from_plain

        return {name: value for name, value in from_plain(self.content).items() if isinstance(value, Metric)}

    def __getitem__(self, name: str) -> Any:
        return self.content[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.content if name != "metrics")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Result(run={self.run!r}, {', '.join(f'{name}={value!r}' for name, value in self.items())})"
