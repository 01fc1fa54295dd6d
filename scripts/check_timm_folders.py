"""Train networks of timm a few steps, save them with timm, and compare their logits in vitrun with timm's own.

    python scripts/check_timm_folders.py [ARCHITECTURE ...]

Each folder is that of ``timm.models.save_for_hf`` and has the tag of the weights that the training would have begun
with. vitrun must compute the same logits to 1e-5 of their scale, or refuse the folder with its reason. It takes
about two minutes on two cores, and downloads nothing.
"""

import contextlib
import sys
import tempfile
from typing import Any

import timm
import torch
from timm.models import save_for_hf

from vitrun import models
from vitrun.errors import UserError

SMALL = {"img_size": 64}
NETWORKS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": SMALL,
    "vit_small_patch32_224.augreg_in21k": {"img_size": 224},
    "vit_tiny_patch16_224.augreg_in21k": {**SMALL, "init_values": 1e-5, "qkv_bias": False, "act_layer": "relu"},
    "vit_base_patch32_clip_224.openai": {**SMALL, "depth": 2},
    "vit_small_patch14_reg4_dinov2.lvd142m": {"img_size": 56, "depth": 3},
    "vit_medium_patch16_reg4_gap_256.sbb_in12k": {**SMALL, "depth": 3},
    "deit_tiny_patch16_224.fb_in1k": SMALL,
    "deit_tiny_distilled_patch16_224.fb_in1k": SMALL,
    "deit3_small_patch16_224.fb_in1k": {**SMALL, "depth": 3},
    "swin_tiny_patch4_window7_224.ms_in1k": {"img_size": 112, "window_size": 7},
    "swinv2_tiny_window8_256.ms_in1k": {"img_size": 64},
    "convnext_atto.d2_in1k": {},
    "resnet18.a1_in1k": {},
    "efficientnet_b0.ra_in1k": {},
    "mixer_s32_224.untrained": SMALL,
    "beit_base_patch16_224.in22k_ft_in22k_in1k": {**SMALL, "depth": 2},
    "eva02_tiny_patch14_224.mim_in22k": {"img_size": 56, "depth": 3},
    "resnetv2_50x1_bit.goog_in21k": {},
    "vit_tiny_r_s16_p8_224.augreg_in21k": SMALL,
    "vit_small_resnet26d_224.untrained": {**SMALL, "depth": 2},
    "vit_base_patch16_siglip_224.webli": {**SMALL, "depth": 2},
    "vit_tiny_patch16_224.orig_channels": {**SMALL, "in_chans": 1},
    "vit_tiny_patch16_224.wide": {"img_size": [32, 64]},
    "mobilenetv3_small_100.lamb_in1k": {},
    "regnety_002.pycls_in1k": {},
}


def train(network: torch.nn.Module, size: list[int], steps: int = 3) -> None:
    """Train every tensor of a network on noise, and let its batch norms follow."""
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
    for _ in range(steps):
        outputs = network.train()(torch.randn(4, *size))
        outputs = sum(outputs) if isinstance(outputs, tuple) else outputs
        torch.nn.functional.cross_entropy(outputs, torch.arange(4) % outputs.shape[1]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def check(name: str, options: dict[str, Any]) -> tuple[bool, str]:
    """Return whether vitrun computes a saved network as timm does, or refuses it, and a line that says so."""
    torch.manual_seed(0)
    architecture, _, tag = name.partition(".")
    theirs = timm.create_model(architecture, num_classes=5, **options)
    theirs.pretrained_cfg["tag"] = tag
    side = options.get("img_size", 64)
    channels = options.get("in_chans", 3)
    size = [channels, *([side, side] if isinstance(side, int) else side)]
    train(theirs, size)
    with tempfile.TemporaryDirectory() as folder:
        save_for_hf(theirs, folder, safe_serialization="vit" not in name, model_config={"label_names": [*"abcde"]})
        try:
            loaded = models.load(folder, res=None if "img_size" in options else size[-1])
        except UserError as error:
            return True, f"refused: {str(error).partition(': ')[2]}"
    images = torch.rand(4, *size) * 2 - 1
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = theirs.eval()((images / 2 + 0.5 - mean) / std)
        difference = (loaded.network.eval()(images) - expected).abs().max() / expected.abs().max()
    right = bool(difference < 1e-5) and loaded.names == tuple("abcde")
    return right, f"{difference:.1e} of {expected.abs().max():.2f}, {loaded.report.lines()[0] if loaded.report else ''}"


def main(chosen: list[str]) -> int:
    """Check the chosen networks, or all; return the number of wrong ones."""
    wrong = 0
    for name, options in NETWORKS.items():
        if chosen and not any(part in name for part in chosen):
            continue
        with contextlib.suppress(KeyboardInterrupt):
            right, line = check(name, options)
            wrong += not right
            print(f"{'right' if right else 'WRONG'}  {name:45} {line}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
