"""ONNX files for batches of any size."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from vitrun.errors import UserError
from vitrun.models.detector import Detector
from vitrun.models.export.view import Description
from vitrun.models.network import Network


class LastDetections(nn.Module):
    """Detections after the last layer: [B, 3, R, R] -> logits [B, Q, C+1] and boxes [B, Q, 4]."""

    def __init__(self, network: Detector):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and boxes."""
        detections = self.network(images)
        return detections.logits[:, -1], detections.boxes[:, -1]


def write_onnx(path: Path, network: Network, description: Description, res: int) -> None:
    """Write the network: ``images`` [B, 3, res, res] in [-1, 1] -> ``logits`` [B, classes].

    A detector has ``logits`` [B, Q, classes + 1], with "no object" last, and ``boxes`` [B, Q, 4]. Raise a UserError if
    packages are missing.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("to=onnx needs the packages onnx and onnxscript: pip install 'vitrun[onnx]'") from None
    logging.getLogger("onnxscript.optimizer").setLevel(logging.ERROR)  # it warns of each operation that stays as it is
    images = torch.zeros(2, 3, res, res)
    is_detector = isinstance(network, Detector)
    exported = LastDetections(network).eval() if isinstance(network, Detector) else network
    torch.onnx.export(
        exported.cpu(),
        (images,),
        path,
        input_names=["images"],
        output_names=["logits", *["boxes"] * is_detector],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        external_data=False,
        dynamo=True,
        verbose=False,
    )
