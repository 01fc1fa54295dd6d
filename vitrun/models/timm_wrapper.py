"""Any network of timm behind the interface of ours."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.recipes import Timm as Row


class TimmNetwork(nn.Module):
    """timm's network without its classifier, and a linear head: [B, 3, R, R] -> logits [B, C].

    Images come in [-1, 1] as everywhere here; ``scale`` and ``shift`` bring them to what timm trained the network on.
    """

    def __init__(self, row: Row, body: nn.Module, head: nn.Linear):
        super().__init__()
        self.row, self.body, self.head = row, body, head
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("shift", torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C]."""
        return self.head(self.pooled(images))

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, D] in float: what the head reads."""
        return self.pooled(images).float()

    def pooled(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, D]."""
        return self.body(images * self.scale + self.shift)

    @torch.no_grad()
    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Give timm's network ``(image - mean) / std`` of the image in [0, 1], which is what its weights expect."""
        mean, std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
        self.scale.copy_(0.5 / std)
        self.shift.copy_((0.5 - mean) / std)


def wrap_timm_network(row: Row, classes: int, res: int) -> TimmNetwork:
    """timm's network ``row.name`` for images of side ``res``, untrained; a UserError for what timm refuses."""
    body = create_timm_network(row.name, res, num_classes=0)
    return TimmNetwork(row, body, nn.Linear(body.head_hidden_size, classes))


def create_timm_network(name: str, res: int, **options) -> nn.Module:
    """``timm.create_model`` at a resolution, its refusals told as a UserError."""
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UserError(f"Unknown timm model {name!r}. {suggest(name, timm.list_models())}", option="model.name")
    if timm.get_pretrained_cfg(name.split(".")[0]).fixed_input_size:
        options["img_size"] = res
    try:
        return timm.create_model(name, **options)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"timm cannot build {name} at res={res}: {str(error) or 'that size does not fit it'}"
        ) from error


def resize_timm_network(network: TimmNetwork, old: int, res: int) -> list[str]:
    """Bring the network to another resolution by timm's own means, and say what of it changed."""
    import timm

    if not timm.get_pretrained_cfg(network.row.name).fixed_input_size:
        return []
    if not hasattr(network.body, "set_input_size"):
        raise UserError(f"timm's {network.row.name} takes images of {old} only, not res={res}.", ExitCode.CHECKPOINT)
    before = {name: tensor.shape for name, tensor in network.body.state_dict().items()}
    try:
        network.body.set_input_size((res, res))
    except (AssertionError, ValueError, RuntimeError) as error:
        raise UserError(f"timm cannot bring {network.row.name} to res={res}: {error}", ExitCode.CHECKPOINT) from error
    return [name for name, tensor in network.body.state_dict().items() if before.get(name) != tensor.shape]


def to_linear(classifier: nn.Module, name: str) -> nn.Linear:
    """A classifier as a linear layer [D] -> [C], a 1x1 convolution included; a UserError for any other kind."""
    weight = getattr(classifier, "weight", None)
    if not isinstance(classifier, (nn.Linear, nn.Conv2d)) or weight[0].numel() != weight.shape[1]:
        raise UserError(
            f"timm's {name} ends in {type(classifier).__name__}, not in one linear layer.", ExitCode.CHECKPOINT
        )
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight.flatten(1))
        head.bias.copy_(torch.zeros(len(weight)) if classifier.bias is None else classifier.bias)
    return head


def zero_linear(width: int, classes: int) -> nn.Linear:
    """A linear layer [D] -> [C] of zeros."""
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
