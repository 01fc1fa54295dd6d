"""Train a part of a network: the rest needs no gradient, has no optimizer state and keeps its values."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from vitrun.errors import UserError, suggest
from vitrun.models import Network, name_heads, number_layers

BODY = "body."  # what the names of timm's parameters begin with here


def freeze(network: Network, train: str, parts: Sequence[str] = ()) -> None:
    """Freeze all parameters that ``train`` does not name, and those of the ``parts``.

    ``train`` is ``all``, the last linear layer (``head``; of a detector all but its body), or the last N blocks and all
    that follows them (``last:N``). Raise a UserError if there are fewer blocks, if the network has no such part,
    or if nothing is left to train.
    """
    trained = name_trained(network, train) - name_parts(network, parts)
    if not trained:
        why = f"leaves nothing of {network.row.name} to train: take out a part, such as that of the head."
        raise UserError(why, option="freeze", value=f"[{','.join(parts)}]")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in trained)


def name_trained(network: Network, train: str) -> set[str]:
    """Return the names of the parameters that ``train`` names."""
    if train == "all":
        return {name for name, _ in network.named_parameters()}
    if train == "head":
        return name_heads(network)
    layers, number = number_layers(network), int(train.removeprefix("last:"))
    head = max(layers.values())
    if number >= head:
        why = f"is more blocks than {network.row.name} has: last:{head - 1} trains everything except the embedding."
        raise UserError(why, option="train", value=train)
    return {name for name, layer in layers.items() if layer >= head - number}


def name_parts(network: Network, parts: Iterable[str]) -> set[str]:
    """Return the names of the parameters of ``parts``: modules or parameters by name, or patterns as ``blocks.?``.

    For a network of timm they may be timm's own names. Raise a UserError if the network has no such part.
    """
    names = [name for name, _ in network.named_parameters()]
    selected: set[str] = set()
    for part in parts:
        patterns = [prefix + part.removesuffix(".") + rest for prefix in ("", BODY) for rest in ("", ".*")]
        matched = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
        if not matched:
            why = f"is not part of {network.row.name}. {suggest(part, list_parts(names))}"
            raise UserError(why, option="freeze", value=part)
        selected |= matched
    return selected


def list_parts(names: Iterable[str]) -> list[str]:
    """Return the names of parameters and of the modules that have them, the shortest first."""
    split = [name.removeprefix(BODY).split(".") for name in names]
    parts = dict.fromkeys(".".join(steps[:end]) for steps in split for end in range(1, len(steps) + 1))
    return sorted(parts, key=lambda part: part.count("."))


def set_training_mode(network: nn.Module) -> None:
    """Put a network into training mode, except batch norms in frozen parts, whose statistics are used and stay."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._NormBase):
                    part.eval()
