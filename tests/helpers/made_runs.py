"""Made-up runs in any number: written by the real classes once for each kind, then copied with other numbers."""

import json
import math
import random
import shutil
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

import yaml

from vitrun.config import resolve
from vitrun.runs.metrics import Metric, to_plain
from vitrun.runs.run import Run
from vitrun.runtime.console import Screen

DATA_SETS = ("cifar10", "cifar100")
MODELS = ("vit_nano8", "vit_ti4")
STEPS = 400


def make_runs(runs: Path, number: int, steps: int = STEPS) -> list[str]:
    """Write so many runs; return their names: pretraining, then fine-tuning, few-shot and eval in turn."""
    runs.mkdir(exist_ok=True)
    numbers = count()
    pretrained = [write_run(runs, "pretrain", [f"model={model}", "data=shapes"], next(numbers)) for model in MODELS]
    names, draw = [*pretrained], random.Random(0)
    prototypes: dict[tuple[str, ...], str] = {}
    for options in list_settings(pretrained):
        if len(names) == number:
            break
        command, overrides, changes = options
        key = (command, *overrides)
        if key not in prototypes:
            prototypes[key] = write_run(runs, command, overrides, next(numbers), steps)
            names.append(prototypes[key])
        else:
            names.append(copy_run(runs, prototypes[key], changes, next(numbers), draw, steps))
    return names


def list_settings(pretrained: list[str]) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
    """Yield command, overrides, and options that are changed afterwards, without end."""
    for seed in count():
        for lr, data, init in product((0.003, 0.01, 0.03, 0.1), DATA_SETS, pretrained):
            yield "finetune", [f"init={init}", f"data={data}", "protocol=quick"], {"seed": seed, "lr": lr}
            if lr == 0.003:
                yield "fewshot", [f"init={init}", f"data={data}"], {"seeds": [seed, seed + 1]}


def write_run(runs: Path, command: str, overrides: list[str], number: int, steps: int = STEPS) -> str:
    """Write a finished run with the class that writes real ones; return its name."""
    recipe = resolve.resolve_recipe(command, [*overrides, f"runs={runs}"])
    run = Run(command, recipe, Screen(quiet=True))
    with run.locked():
        run.update_about(train_data="0" * 16, test_data="1" * 16, computing={"device": "cpu", "precision": "bf16"})
        for values in list_steps(command, 0.01, steps, random.Random(number)):
            run.log_metrics(values)
        run.finish(to_plain(make_result(command, random.Random(number), steps)))
    return run.name


def copy_run(runs: Path, prototype: str, changes: dict[str, Any], number: int, draw: random.Random, steps: int) -> str:
    """Copy a run with other options, metrics and result; return its name."""
    name = f"{prototype[:-8]}{number:08x}"
    shutil.copytree(runs / prototype, runs / name)
    recipe = yaml.load((runs / name / "recipe.yaml").read_text(), yaml.CSafeLoader)
    lr = changes.pop("lr", None)
    recipe |= changes
    if lr:
        recipe["optim"]["lr"] = lr
    (runs / name / "recipe.yaml").write_text(yaml.dump(recipe, Dumper=yaml.CSafeDumper, sort_keys=False))
    lines = [json.dumps({"attempt": 1, **values}) for values in list_steps(recipe["command"], lr or 0, steps, draw)]
    (runs / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    result = {"result": to_plain(make_result(recipe["command"], draw, steps)), "finished": 1.7e9 + 600.0 * number}
    (runs / name / "result.json").write_text(json.dumps(result))
    return name


def list_steps(command: str, lr: float, steps: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the lines of the steps of a training run."""
    for step in range(1, steps + 1) if command in ("pretrain", "finetune") else ():
        loss = 0.2 + 2 * math.exp(-step * (1 + lr) / 90) * draw.uniform(0.9, 1.1)
        yield {"step": step, "loss": loss, "norm": draw.random(), "lr": lr * (1 - step / steps), "seconds": 0.05}


def make_result(command: str, draw: random.Random, steps: int) -> dict[str, Any]:
    """Return the result of a run."""
    if command == "fewshot":
        values = {shots: draw.uniform(0.1, 0.2) * (1 + math.log(shots)) for shots in (1, 5, 10, 25)}
        return {f"shot{shots}": Metric(value, "share", 0.01, 0.02) for shots, value in values.items()}
    speed = {"steps": steps, "seconds": Metric(draw.uniform(50, 90), "seconds"), "images_per_second": Metric(2000.0)}
    return {
        "top1": Metric(draw.uniform(0.7, 0.95), "share"),
        "top5": Metric(0.99, "share"),
        "test_images": 500,
        **speed,
    }
