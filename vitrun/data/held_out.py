"""Training images that are held out, to evaluate on during training or to choose options by."""

import numpy as np

from vitrun.data.split import Split
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import count_held_out
from vitrun.runtime import random


def hold_out(split: Split, share: float) -> tuple[Split, Split]:
    """Return the split without a share of its images (at least one), and the split of that share.

    The share is drawn at random, because data sets are sorted by class, but is the same for every run. Raise UserError
    if the images have boxes and no image of one of the two has an object: nothing could be learned, or no AP measured.
    """
    number = count_held_out(len(split), share)
    order = random.make_generator(0, "dev").permutation(len(split))
    rest, held_out = split.select(np.sort(order[number:])), split.select(np.sort(order[:number]))
    for part, what, effect in ((rest, "that are left", "nothing to train on"), (held_out, "held out", "no AP of them")):
        if part.boxes is not None and part.boxes.crowd.all():
            why = f"none of the {len(part):,} images {what} has an object, so that there is {effect}"
            raise UserError(f"{why}: give another share, or 0.", ExitCode.DATA, "dev", f"{share:g}")
    return rest, held_out
