"""Compare the planned memory of a training step on a CPU with the memory that it takes, for several settings.

    python scripts/check_memory.py                  # the settings below, some minutes and up to 10 GB
    python scripts/check_memory.py vit_l16,24,4,fp32,none,sgd,false vit_l16,24,4,fp32,blocks,sgd,false

A setting is a model, its number of blocks, the micro-batch, the precision, checkpointing, the optimizer and whether
there is an EMA. Each is measured in a process of its own: the peak of its resident memory in two steps of two
micro-batches, less what it had before the network. One worker computes, with all cores. The planned bytes are those of
``--dry-run``, in GB by part.
"""

import json
import resource
import subprocess
import sys
from dataclasses import replace

from vitrun.runtime.text_tables import format_table

SETTINGS = [
    ("vit_l16", 24, 4, "bf16", "none", "sgd", False),
    ("vit_l16", 24, 4, "bf16", "blocks", "sgd", False),
    ("vit_l16", 24, 16, "bf16", "none", "sgd", False),
    ("vit_l16", 24, 16, "bf16", "blocks", "sgd", False),
    ("vit_l16", 24, 4, "fp32", "none", "sgd", False),
    ("vit_l16", 24, 4, "fp32", "blocks", "sgd", False),
    ("vit_b16", 12, 8, "fp32", "none", "adamw", False),
    ("vit_b16", 12, 8, "fp32", "blocks", "adamw", False),
    ("vit_b16", 12, 8, "bf16", "none", "adamw", True),
    ("vit_b16", 12, 8, "bf16", "blocks", "adamw", True),
]
TOLERANCE = 0.15
PARTS = ("weights", "gradients", "optimizer", "ema", "copies", "activations")


def measure(model: str, depth: int, micro: int, precision: str, checkpointing: str, kind: str, ema: bool) -> None:
    """Print the planned and the measured bytes of a setting as JSON."""
    import torch

    from vitrun import data, models
    from vitrun.config import resolve
    from vitrun.engine import optim
    from vitrun.engine.activations import count_activations, make_blank_batch
    from vitrun.engine.loop import FitOptions, fit
    from vitrun.engine.memory_plan import Hardware, Setting, StateSize
    from vitrun.engine.state import TrainState
    from vitrun.objectives.labels import LabelObjective
    from vitrun.recipes import tables
    from vitrun.runtime import environment
    from vitrun.runtime.device import Machine

    environment.keep_freed_memory()
    recipe = resolve.resolve_recipe("pretrain", [f"optim={kind}", "data=shapes", f"batch={2 * micro}"])
    objective, machine = LabelObjective.from_recipe(recipe), Machine("cpu", precision)
    row = replace(tables.load_model_row(model), depth=depth)
    with torch.device("meta"):
        network = models.build(row, 1000, 224)
    size = StateSize.measure(network, recipe.optim, ema)
    stored = count_activations(network, objective, 224, machine.dtype, fused=precision == "fp32")
    planned = Hardware(1, machine.dtype).plan(size, stored, Setting(False, checkpointing == "blocks"), micro)

    small = models.build(tables.load_model_row("vit_nano8"), 1000, 32)  # its step loads what a first step loads
    state = TrainState(small, optim.build_optimizer(recipe.optim, small), None, 0, 8, workers=1)
    step = FitOptions(objective.loss, 8, lambda step: 1e-4, 1.0, None, 0, machine, lambda images: None)
    list(fit(state, [make_blank_batch(objective, 32, 8)], step))
    batch: data.Batch = make_blank_batch(objective, 224, 2 * micro)
    before = read_resident()
    real = models.build(row, 1000, 224)
    if checkpointing == "blocks":
        models.checkpoint_blocks(real)
    average = [parameter.detach().clone() for parameter in real.parameters()] if ema else None
    state = TrainState(real, optim.build_optimizer(recipe.optim, real), average, 0, micro, workers=1)
    decay = 0.999 if ema else None
    options = FitOptions(objective.loss, 2 * micro, lambda step: 1e-4, 1.0, decay, 0, machine, lambda images: None)
    list(fit(state, [batch, batch], options))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    parts = {name: getattr(planned, name) for name in PARTS}
    print(json.dumps({**parts, "planned": planned.total, "measured": peak - before}))


def read_resident() -> int:
    """Return the bytes that this process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    """Print a line for each setting, then a table; exit with 1 if a plan is not within the tolerance."""
    if sys.argv[1:2] == ["--measure"]:
        model, depth, micro, precision, checkpointing, kind, ema = sys.argv[2:]
        return measure(model, int(depth), int(micro), precision, checkpointing, kind, ema.lower() == "true")
    rows, errors = [], []
    for setting in [text.split(",") for text in sys.argv[1:]] or [list(map(str, row)) for row in SETTINGS]:
        command = [sys.executable, __file__, "--measure", *setting]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(output.splitlines()[-1])
        errors.append(result["planned"] / result["measured"] - 1)
        rows.append([" ".join(setting), *(f"{value / 1e9:.2f}" for value in result.values()), f"{errors[-1]:+.1%}"])
        print(*rows[-1], flush=True)
    print(format_table(["setting", *PARTS, "planned", "measured", "difference"], rows))
    sys.exit(max(map(abs, errors)) > TOLERANCE)


if __name__ == "__main__":
    main()
