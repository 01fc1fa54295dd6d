"""Rows of a tensor that lie in several files, read where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class MappedRows:
    """The rows [N, ...] of arrays that follow each other, each of which may be memory-mapped."""

    parts: Sequence[np.ndarray]

    @cached_property
    def ends(self) -> np.ndarray:
        """Return the number of rows up to the end of each part."""
        return np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows at ``rows``: [B] -> [B, ...]."""
        numbers = np.searchsorted(self.ends, rows, side="right")
        result = np.empty((len(rows), *self.parts[0].shape[1:]), self.parts[0].dtype)
        for number in np.unique(numbers).tolist():
            here, part = numbers == number, self.parts[number]
            result[here] = part[rows[here] - (int(self.ends[number]) - len(part))]
        return result

    def column(self, number: int) -> np.ndarray:
        """Return a column of all rows [N, K], in memory: [N]."""
        return np.concatenate([part[:, number] for part in self.parts])
