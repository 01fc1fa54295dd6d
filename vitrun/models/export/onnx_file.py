"""An ONNX file that takes a batch of any size."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from vitrun.errors import UserError
from vitrun.models.load_report import describe_model
from vitrun.recipes import BiT, Timm, ViT

MAX_BYTES = 2_000_000_000  # bytes; a file of protocol buffers ends at 2 GiB


def write_onnx(path: Path, network: nn.Module, model: ViT | BiT | Timm, names: Sequence[str], res: int) -> None:
    """``images`` [B, 3, res, res] in [-1, 1] -> ``logits`` [B, classes]; a UserError for more than a file can hold."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(f"{describe_model(model)} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2.")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError(
            "An export to=onnx needs the packages onnx and onnxscript: pip install 'vitrun[onnx]'"
        ) from None
    images = torch.zeros(2, 3, res, res)
    torch.onnx.export(
        network.cpu(),
        (images,),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        external_data=False,
        dynamo=True,
        verbose=False,
    )
