"""Networks of timm with the interface of vitrun's networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vitrun.errors import ExitCode, UserError, is_out_of_memory, suggest
from vitrun.models.network import Network, lay_out_images
from vitrun.recipes import Timm as Row
from vitrun.recipes.model_limits import check_multiple
from vitrun.runtime.plugins import find_plugins, load_plugin

PLUGIN_GROUP = "vitrun.models"  # the entry points by which an installed package adds networks to timm's registry


class TimmNetwork(Network):
    """A network of timm without its classifier, and a linear head: [B, 3, R, R] -> logits [B, C].

    Images are in [-1, 1], as for all networks; ``scale`` and ``shift`` normalise them as timm did in training.
    """

    row: Row
    scale: Tensor
    shift: Tensor

    def __init__(self, row: Row, body: Any, head: nn.Linear):
        super().__init__()
        self.row, self.head = row, head
        self.body: Any = body  # each class of timm has its own attributes
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def pooled(self, images: Tensor) -> Tensor:
        """Map [B, 3, R, R] to [B, D]."""
        return self.body(self.normalize(images))

    def normalize(self, images: Tensor) -> Tensor:
        """Return images as timm's network was trained on them: [B, 3, H, W]."""
        return lay_out_images(images) * self.scale + self.shift

    @torch.no_grad()
    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Set ``scale`` and ``shift`` so that timm's network gets ``(image - mean) / std`` of the image in [0, 1]."""
        center, deviation = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
        self.scale.copy_(0.5 / deviation)
        self.shift.copy_((0.5 - center) / deviation)


def is_timm_model(name: str) -> bool:
    """Return whether timm itself has a network of this name, with a tag or without."""
    import timm

    return bool(timm.is_model(name.partition(".")[0]))


def wrap_timm_network(row: Row, classes: int, res: int) -> TimmNetwork:
    """Return timm's network ``row.name``, untrained, for images of side ``res``. Raise a UserError if timm has none."""
    body = create_timm_network(row.name, res, num_classes=0, **row.list_arguments())
    if getattr(body, "global_pool", None) == "":
        raise UserError(f"timm's {row.name} without pooling gives a map, not one vector per image.")
    return TimmNetwork(row, body, nn.Linear(body.head_hidden_size, classes))


def create_timm_network(name: str, res: int, **options: Any) -> Any:  # each class of timm has its own attributes
    """Call ``timm.create_model`` for images of side ``res``. Raise a UserError if timm cannot build it."""
    import timm

    architecture, plugins = name.split(".")[0], find_plugins(PLUGIN_GROUP)
    if not timm.is_model(architecture) and architecture in plugins:
        load_plugin(plugins[architecture])  # which registers it with timm
    if not timm.is_model(architecture):
        known = [*timm.list_models(), *plugins]
        raise UserError(f"Unknown timm model {name!r}. {suggest(name, known)}", option="model.name")
    if pretrained_config(architecture).fixed_input_size:
        options["img_size"] = res
    try:
        return timm.create_model(name, **options)
    except (AssertionError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error) or "the size does not fit").splitlines()[0]
        raise UserError(f"timm cannot build {name} at res={res}: {reason}") from error


def pretrained_config(name: str) -> Any:  # a PretrainedCfg, without the check that its optional fields are set
    """Return timm's description of a network (input size, mean, std ...), or defaults if it has none."""
    import timm

    return timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()


def check_patches(network: TimmNetwork, res: int) -> None:
    """Raise a UserError if patches of timm's network would leave out pixels of images of side ``res``.

    timm crops such images without a word. The size that it trained its own weights at is allowed: 384 with patches of
    14, as in ``vit_so400m_patch14_siglip_384``.
    """
    embedding = getattr(network.body, "patch_embed", None)
    projection = getattr(embedding, "proj", None)
    if not isinstance(projection, nn.Conv2d) or getattr(embedding, "dynamic_img_pad", False):
        return
    tiles = projection.kernel_size == projection.stride and projection.padding == (0, 0)
    own = (pretrained_config(network.row.name).input_size or (0,))[-1]
    if tiles and res != own:
        check_multiple(network.row.name, res, projection.stride[0])


def resize_timm_network(network: TimmNetwork, old: int, res: int) -> list[str]:
    """Let timm change the network's resolution; return the names of the tensors that changed their shape."""
    check_patches(network, res)
    if not pretrained_config(network.row.name).fixed_input_size:
        return []
    if not hasattr(network.body, "set_input_size"):
        raise UserError(
            f"timm's {network.row.name} takes images of {old} pixels only.", ExitCode.CHECKPOINT, "res", str(res)
        )
    before = {name: tensor.shape for name, tensor in network.body.state_dict().items()}
    try:
        network.body.set_input_size((res, res))
    except (AssertionError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"timm cannot resize {network.row.name}: {error}", ExitCode.CHECKPOINT, "res", str(res)
        ) from error
    return [name for name, tensor in network.body.state_dict().items() if before.get(name) != tensor.shape]


def to_linear(classifier: nn.Module, name: str) -> nn.Linear:
    """Return a linear or 1x1 convolution classifier as a linear layer [D] -> [C]. Raise a UserError for any other."""
    if not isinstance(classifier, (nn.Linear, nn.Conv2d)) or classifier.weight[0].numel() != classifier.weight.shape[1]:
        raise UserError(
            f"timm's {name} ends in {type(classifier).__name__}, not in one linear layer.", ExitCode.CHECKPOINT
        )
    weight = classifier.weight
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight.flatten(1))
        head.bias.copy_(torch.zeros(len(weight)) if classifier.bias is None else classifier.bias)
    return head


def zero_linear(width: int, classes: int) -> nn.Linear:
    """Return a linear layer [D] -> [C] of zeros."""
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
