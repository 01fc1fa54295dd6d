"""Learning-rate schedules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, log, pi
from typing import NamedTuple

from vitrun.recipes import Training


class DecayPoint(NamedTuple):
    """Step after the warm-up, as schedules see it."""

    lr: float  # the highest learning rate
    end: float  # the last one
    progress: float  # share of the decay that is done, in [0, 1)
    fall: float  # of a staircase so far: what its drops divide the rate by
    age: float  # steps since the warm-up, in units of the timescale


SCHEDULES: dict[str, Callable[[DecayPoint], float]] = {
    "cosine": lambda at: at.end + (at.lr - at.end) * (0.5 * (1 + cos(pi * at.progress))),
    "linear": lambda at: at.end + (at.lr - at.end) * (1 - at.progress),
    "staircase": lambda at: at.lr / at.fall,
    "constant": lambda at: at.lr,
    "rsqrt": lambda at: at.lr / (1 + at.age) ** 0.5,  # arXiv 2106.04560; big_vision, utils.py
}


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a pure function of the step, counted from 0.

    It rises from 0 at step 0 to ``lr`` at step ``warmup``: with a warm-up the first step changes nothing but the
    moments, as in the public code (vision_transformer, utils.py). Then it falls as ``SCHEDULES[kind]`` says: to ``end``
    at step ``steps``, which no step reaches, or by ``drop_factor`` after each of ``drops`` (big_transfer,
    bit_hyperrule.py) or at every ``drop_every``, counted from step 0 (``tf.train.exponential_decay`` with
    ``staircase=True``), or with the root of the steps. In the last ``cooldown`` steps it is multiplied by a factor that
    falls from 1 to 0.
    """

    kind: str
    lr: float
    steps: int
    warmup: int
    end: float = 0.0
    drops: Sequence[int] = ()
    timescale: int = 1  # steps after the warm-up in which rsqrt falls to the root of a half
    cooldown: int = 0
    drop_factor: float = 0.1
    drop_every: float = 0  # steps; 0 for the drops alone

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warmup:
            return self.lr * step / self.warmup
        done = step - self.warmup
        progress, age = done / (self.steps - self.warmup), done / self.timescale
        rate = SCHEDULES[self.kind](DecayPoint(self.lr, self.end, progress, self.count_fall(step), age))
        return rate * min(1, (self.steps - step) / self.cooldown) if self.cooldown else rate

    def count_fall(self, step: int) -> float:
        """Return what the drops of a staircase divide the rate of a step by: 10 after one drop to a tenth."""
        drops = sum(step > drop for drop in self.drops) + (int(step // self.drop_every) if self.drop_every else 0)
        highest = int(690 / log(1 / self.drop_factor))  # beyond, the rate is below 1e-299, and the power overflows
        return (1 / self.drop_factor) ** min(drops, highest)


def build_schedule(recipe: Training, steps: int, warmup: int) -> Schedule:
    """Return the learning rate of a run of ``steps``, of which the first ``warmup`` are its warm-up."""
    return Schedule(
        recipe.schedule,
        recipe.optim.lr,
        steps,
        warmup,
        recipe.schedule_end,
        recipe.drops,
        recipe.timescale,
        recipe.count_share(recipe.cooldown, steps),
        recipe.drop_factor,
        recipe.count_drop_every(steps),
    )
