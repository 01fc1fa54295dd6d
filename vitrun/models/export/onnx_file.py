"""ONNX files for batches of any size."""

from pathlib import Path

import torch

from vitrun.errors import UserError
from vitrun.models.export.view import Description
from vitrun.models.load_report import describe_model
from vitrun.models.network import Network

MAX_BYTES = 2_000_000_000  # protocol buffers are limited to 2 GiB


def write_onnx(path: Path, network: Network, description: Description, res: int) -> None:
    """Write the network: ``images`` [B, 3, res, res] in [-1, 1] -> ``logits`` [B, classes].

    Raise a UserError if it is too large for one file, or if the packages for it are missing.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(
            f"to=onnx: {describe_model(network.row)} has {size / 1e9:.1f} GB of weights, but an ONNX file holds 2 GB."
        )
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("to=onnx needs the packages onnx and onnxscript: pip install 'vitrun[onnx]'") from None
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
