"""Layout of computing on a device: how many images at once, by how many workers, with which form of attention."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vitrun.runtime.device import divide_batch


@dataclass(frozen=True)
class Layout:
    """One way to divide the images of a batch."""

    micro_batch: int  # images that a worker computes at once
    workers: int  # the most that compute micro-batches side by side, each with its share of the cores
    fused: bool  # whether attention is torch's fused function

    def __str__(self) -> str:
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"micro-batch {self.micro_batch}, {workers}, {self.attention} attention"

    @property
    def at_once(self) -> int:
        """Return the images that all workers compute side by side."""
        return self.micro_batch * self.workers

    @property
    def attention(self) -> str:
        """Return the form of attention, as a run records it."""
        return "fused" if self.fused else "plain"

    def describe(self) -> dict[str, Any]:
        """Return the facts that a run records; :meth:`parse` reads them."""
        return {"micro_batch": self.micro_batch, "workers": self.workers, "attention": self.attention}

    @classmethod
    def parse(cls, facts: Mapping[str, Any]) -> "Layout | None":
        """Return the layout of recorded facts; None if they have none."""
        micro_batch, workers, attention = (facts.get(key) for key in ("micro_batch", "workers", "attention"))
        if not isinstance(micro_batch, int) or not isinstance(workers, int) or attention not in ("fused", "plain"):
            return None
        return cls(micro_batch, workers, attention == "fused") if micro_batch > 0 and workers > 0 else None


def list_neighbours(layout: Layout, images: int, workers: int, has_attention: bool) -> Iterator[Layout]:
    """Yield the layouts of a batch of ``images`` that differ from ``layout`` by one step, the most promising first.

    Args:
        workers: The most that there may be; the number changes by halves only.
        has_attention: Whether the network has attention of either form.
    """
    micro, now = layout.micro_batch, layout.workers
    if has_attention:
        yield replace(layout, fused=not layout.fused)
    steps = [(2 * micro, now), (2 * micro, now // 2), (micro // 2, now), (micro, now // 2), (micro // 2, 2 * now)]
    for fitting, number in steps:
        if fitting and 1 <= number <= min(workers, images):
            other = replace(layout, micro_batch=divide_batch(images, min(fitting, images // number)), workers=number)
            if other != layout:
                yield other
