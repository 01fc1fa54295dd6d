"""Steps at which something is measured during training."""


def is_due(step: int, every: int | str, steps: int) -> bool:
    """Return whether a step is the first, the last, or nearest to a multiple of ``every``: steps, or a share of all."""
    interval = max(1, float(every[:-1]) / 100 * steps if isinstance(every, str) else every)
    return step in (0, steps) or step == round(round(step / interval) * interval)
