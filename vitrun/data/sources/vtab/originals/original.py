"""What every reader of an original returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vitrun.errors import Exit, Mistake


@dataclass(frozen=True)
class Original:
    """N images of one split as their authors publish them; a Mistake where there are none or a label is no class."""

    keys: Sequence[str]  # [N] as tensorflow_datasets hashes them
    labels: dict[str, np.ndarray]  # label name -> [N] int64, as VTAB counts them
    classes: dict[str, tuple[str, ...]]  # label name -> the names of all classes, also of absent ones
    image: Callable[[int], bytes | np.ndarray]  # the file's bytes, or uint8 [h, w] or [h, w, 3]
    where: str  # the files that it came from
    sizes: np.ndarray | None = None  # [N] bytes of each image's file, where it has one

    def __post_init__(self):
        if not self.keys:
            raise Mistake(f"{self.where}: there are no images. Fetch it again.", Exit.DATA)
        for name, labels in self.labels.items():
            outside = (labels < 0) | (labels >= len(self.classes[name]))
            if outside.any():
                first = int(outside.argmax())
                raise Mistake(
                    f"{self.where}: {self.keys[first]} has the {name} {labels[first]}, which is none of the classes "
                    f"0 to {len(self.classes[name]) - 1}. Fetch it again.",
                    Exit.DATA,
                )
