"""Keys of images that are built on access, so that those of 10^8 images need no memory."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload


class BuiltKeys(Sequence[str]):
    """A sequence of keys, of which a subclass defines the length and :meth:`build_key`."""

    @abstractmethod
    def build_key(self, row: int) -> str:
        """Return the key of the image at ``row``, from 0 to the length - 1."""

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        rows = range(len(self))[at]
        return self.build_key(rows) if isinstance(rows, int) else [self.build_key(row) for row in rows]
