"""Train transformers' ImageGPT and vitrun's from the same weights on the same images, and compare the losses.

    python scripts/check_igpt.py

Both have igpt_nano's size and train for 30 steps with Adam in float32 on random images whose colours are its own. The
loss of transformers is computed from its logits: the one that it returns leaves out the last pixel.
"""

import tempfile
from pathlib import Path

import torch
from torch.nn import functional
from transformers import ImageGPTForCausalImageModeling

from vitrun import models
from vitrun.models.export import export_model
from vitrun.objectives.pixels import colour_losses
from vitrun.recipes import tables

STEPS, BATCH, SIDE, LIMIT = 30, 8, 16, 1e-4


def main() -> None:
    torch.manual_seed(0)
    ours = models.build_pixel_predictor(tables.load_model_rows()["igpt_nano"], SIDE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "imagegpt"
        export_model(ours, SIDE, "hf", folder, "")
        theirs = ImageGPTForCausalImageModeling.from_pretrained(folder).train()
    start = ours.row.colours
    optimizers = [make_optimizer(ours), make_optimizer(theirs)]
    gaps = []
    for step in range(STEPS):
        ids = torch.randint(0, start, (BATCH, SIDE**2))
        inputs = torch.cat([torch.full((BATCH, 1), start), ids[:, :-1]], 1)
        images = ours.paint(ids).permute(0, 3, 1, 2) / 127.5 - 1
        losses = (
            colour_losses(*ours(images, torch.zeros(BATCH, 0, dtype=torch.bool))).mean(),
            functional.cross_entropy(theirs(input_ids=inputs).logits.flatten(0, 1), ids.flatten()),
        )
        for loss, optimizer in zip(losses, optimizers):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gap = abs(float(losses[0]) - float(losses[1]))
        gaps.append(gap)
        print(f"step {step + 1}: vitrun {float(losses[0]):.6f}, transformers {float(losses[1]):.6f}, gap {gap:.1e}")
    equal = all(gap <= LIMIT for gap in gaps)  # not so if one is NaN
    print(f"largest gap {max(gaps):.1e}, limit {LIMIT:.0e}: {'equal' if equal else 'DIFFERENT'}")
    raise SystemExit(not equal)


def make_optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    """Return Adam for all weights but the biases, which vitrun's network does not have."""
    weights = [p for name, p in network.named_parameters() if p.requires_grad and not name.endswith("bias")]
    return torch.optim.Adam(weights, 3e-3, betas=(0.9, 0.95))


if __name__ == "__main__":
    main()
