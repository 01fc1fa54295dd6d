"""Compare a training step of ResNets: plain, with attention beside convolutions, and with attention in place of them.

    python scripts/bench_attention_resnets.py resnet50 aa_resnet50 sasa50 res=224 batch=4 --rounds 3

Steps of the models alternate. Prints for each model the median seconds of a step (forward, loss and backward, in the
precision that ``auto`` chooses, or ``precision=fp32``), the median ratio to the first model, and the bytes that the
forward pass stores for the backward pass, without the weights.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional

from vitrun import models
from vitrun.recipes import tables
from vitrun.runtime.device import Machine
from vitrun.runtime.text_tables import format_table

MODELS = ["resnet50", "aa_resnet50", "sasa50"]
CLASSES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", help="models, and res=, batch=, precision=")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_intermixed_args()
    given = dict(argument.split("=") for argument in options.arguments if "=" in argument)
    names = [argument for argument in options.arguments if "=" not in argument] or MODELS
    res, batch = int(given.get("res", 224)), int(given.get("batch", 4))
    machine = Machine("cpu", given.get("precision", "auto"))
    images, labels = torch.randn(batch, 3, res, res), torch.randint(CLASSES, (batch,))
    steps = {name: make_step(name, res, machine, images, labels) for name in names}
    stored = {name: step() for name, step in steps.items()}  # which also warms up
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, step in steps.items():
            start = perf_counter()
            step()
            seconds[name].append(perf_counter() - start)
    rows = []
    for name in names:
        ratio = median(own / first for own, first in zip(seconds[name], seconds[names[0]]))
        rows.append([name, f"{median(seconds[name]):.2f}", f"{ratio:.2f}", f"{stored[name] / batch / 1e6:,.0f}"])
    print(f"{res} px, batch {batch}, {machine.dtype}, {torch.get_num_threads()} threads")
    print(format_table(["", "seconds a step", f"times {names[0]}", "MB stored per image"], rows))


def make_step(name: str, res: int, machine: Machine, images: Tensor, labels: Tensor) -> Callable[[], int]:
    """Return a training step of a network, which returns the bytes stored for the backward pass."""
    torch.manual_seed(0)
    network = models.build(tables.load_model_row(name), CLASSES, res).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def step() -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        network.zero_grad()
        with machine.autocast(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()
        return sum(sizes.values())

    return step


if __name__ == "__main__":
    main()
