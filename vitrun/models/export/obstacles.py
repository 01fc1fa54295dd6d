"""Why another library cannot have a network, and which formats can."""

from collections.abc import Callable

from vitrun.errors import UserError
from vitrun.models.clip import Clip
from vitrun.models.clip_resnet import ClipResNet
from vitrun.models.detector import Detector
from vitrun.models.export import timm_folder
from vitrun.models.igpt import IGpt
from vitrun.models.load_report import describe_model
from vitrun.models.network import Network
from vitrun.models.resnet import BiT
from vitrun.models.timm_wrapper import TimmNetwork
from vitrun.models.vit import ViT
from vitrun.recipes import TextTower
from vitrun.recipes import ViT as Row

MAX_ONNX_BYTES = 2_000_000_000  # protocol buffers are limited to 2 GiB
OPEN_CLIP_EPSILON = 1e-5
NO_TOWERS = "has no place for the two towers of a CLIP"
NO_BOXES = "has no place for boxes, and this network finds objects"


def check_format(network: Network, to: str) -> None:
    """Raise a UserError with the reason, and the formats that can, if a network cannot be written in format ``to``."""
    if why := OBSTACLES[to](network):
        others = [name for name, find in OBSTACLES.items() if find(network) is None]
        way_out = f"Export it with to={' or to='.join(others)}." if others else "No other format has it: keep its run."
        raise UserError(f"{why}. {way_out}", option="to", value=to)


def find_other_outputs(network: Network) -> str | None:
    """Return what a format of one head has no place for, or None."""
    if isinstance(network, Clip):
        return NO_TOWERS
    return NO_BOXES if isinstance(network, Detector) else None


def find_timm_obstacle(network: Network) -> str | None:
    """Return why timm has no such network, or None."""
    if why := find_other_outputs(network):
        return why
    if isinstance(network, TimmNetwork):
        return None
    if isinstance(network, BiT):
        bit = network.row
        is_known = (bit.blocks, bit.width_factor) in timm_folder.BITS and bit.border == "zero"
        others = ", ".join(timm_folder.BITS.values())
        return None if is_known else f"timm has no {bit.name} with border={bit.border}, only {others}"
    if not isinstance(network, ViT):
        return f"timm has no {network.row.name} as vitrun computes it"
    row = network.row
    if row.stem and (row.resnet not in timm_folder.HYBRIDS or row.stem != 64):
        return f"timm has no hybrid with stages {list(row.resnet)} of {row.stem} channels"
    return find_pre_logits(row, "timm") or find_odd_positions(row, "timm")


def find_hugging_face_obstacle(network: Network) -> str | None:
    """Return why transformers has no such network, or None."""
    if isinstance(network, Clip):
        return find_hugging_face_clip_obstacle(network)
    if isinstance(network, Detector):
        return find_hugging_face_detector_obstacle(network)
    if isinstance(network, IGpt):
        return find_hugging_face_igpt_obstacle(network)
    if not isinstance(network, ViT) or network.row.stem or network.row.head != "token":
        what = "a class token and no ResNet"
        return f"transformers' ViT has {what}, unlike {describe_model(network.row)}"
    if network.row.norm_pre:
        return "transformers' ViT has no LayerNorm after its embeddings"
    return find_pre_logits(network.row, "transformers") or find_odd_positions(network.row, "transformers")


def find_hugging_face_clip_obstacle(network: Clip) -> str | None:
    """Return why transformers has no such CLIP, or None."""
    if isinstance(network.image, ClipResNet):
        return "transformers' CLIP has no ResNet"
    if network.row.logit_bias:
        return "transformers' CLIP has no bias of the logits, which this one has of objective.loss=sigmoid"
    return find_tower_obstacle(network, "transformers")


def find_hugging_face_detector_obstacle(network: Detector) -> str | None:
    """Return why transformers has no such detector, or None."""
    row, body = network.row, network.row.body
    if not isinstance(body, Row):
        return None
    if row.decoder:
        return f"transformers' DETR has no ViT as its body, as {row.name} has"
    if body.stem or body.norm_pre or body.head != "token":
        why = "transformers' YOLOS has a class token, no ResNet and no LayerNorm after its embeddings"
        return f"{why}, unlike {row.name}"
    return None


def find_hugging_face_igpt_obstacle(network: IGpt) -> str | None:
    """Return why transformers computes an ImageGPT differently, or None."""
    row, classifies = network.row, bool(network.head.out_features)
    if not row.causal:
        return "transformers' ImageGPT is causal, and this one is not"
    if classifies and (row.start or network.head.bias.any()):
        what = "reads no start token and has no bias in its head, unlike this network"
        return f"transformers' ImageGPT classifier {what}"
    return None


def find_open_clip_obstacle(network: Network) -> str | None:
    """Return why open_clip has no such network, or None."""
    if not isinstance(network, Clip):
        return f"{describe_model(network.row)} is not a CLIP of two towers"
    text, image = network.row.text, network.row.image
    towers: list[TextTower | Row] = [text, image] if isinstance(image, Row) else [text]
    gelus = {tower.gelu for tower in towers}
    if len(gelus) > 1 or "tanh" in gelus or any(tower.epsilon != OPEN_CLIP_EPSILON for tower in towers):
        what = f"the quick or the exact form of GELU in both towers, and epsilon {OPEN_CLIP_EPSILON:g}"
        return f"open_clip has {what}; this CLIP has others"
    return find_tower_obstacle(network, "open_clip")


def find_tower_obstacle(network: Clip, library: str) -> str | None:
    """Return why transformers and open_clip have no such image tower, or None."""
    row = network.row.image
    if not isinstance(row, Row):
        return None
    if row.stem or row.head != "token" or not row.norm_pre:
        what = "a class token, a LayerNorm after its embeddings and no ResNet"
        return f"{library} has image towers with {what} alone; this one is another"
    return find_pre_logits(row, library) or find_odd_positions(row, library)


def find_npz_obstacle(network: Network) -> str | None:
    """Return why the JAX code has no such network, or None."""
    if why := find_other_outputs(network):
        return why
    if isinstance(network, BiT):
        return None
    if not isinstance(network, ViT):
        return f"the JAX code has ViTs, hybrids and BiTs, and no {network.row.name}"
    row = network.row
    if (row.gelu, row.epsilon, row.norm_pre) != ("tanh", 1e-6, False):
        what = "have the tanh form of GELU, epsilon 1e-6 and no LayerNorm after the embeddings"
        return f"the networks of such files {what}, unlike {describe_model(row)}"
    return find_odd_positions(row, "the JAX code")


def find_onnx_obstacle(network: Network) -> str | None:
    """Return why a network cannot be one ONNX file, or None."""
    if isinstance(network, Clip):
        return NO_TOWERS
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size <= MAX_ONNX_BYTES:
        return None
    return f"{describe_model(network.row)} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2 GB"


def find_pre_logits(row: Row, library: str) -> str | None:
    """Return that a network has a pre-logits layer, which neither timm nor transformers has, or None."""
    return f"{library} has no pre-logits layer before its head; fine-tuning drops it" if row.pre_logits else None


def find_odd_positions(row: Row, library: str) -> str | None:
    """Return why positions cannot be written as one learned table at the stem, or None."""
    if row.positions == "relative" or (row.positions_at != "stem" and row.positions != "none"):
        return f"{library} has no network with model.positions={row.positions} at {row.positions_at}"
    return None


Find = Callable[[Network], str | None]
OBSTACLES: dict[str, Find] = {
    "timm": find_timm_obstacle,
    "hf": find_hugging_face_obstacle,
    "open_clip": find_open_clip_obstacle,
    "npz": find_npz_obstacle,
    "onnx": find_onnx_obstacle,
}
