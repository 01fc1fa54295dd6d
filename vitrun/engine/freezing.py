"""Train a part of a network: the rest needs no gradient, has no optimizer state and keeps its values."""

from torch import nn

from vitrun.errors import UserError
from vitrun.models import Network, number_layers


def freeze(network: Network, train: str) -> None:
    """Freeze all parameters but those that ``train`` names.

    These are ``all``, those of the last linear layer (``head``), or those of the last N blocks and of all that follows
    them (``last:N``). Raise a UserError if there are not so many blocks.
    """
    trained = name_trained(network, train)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in trained)


def name_trained(network: Network, train: str) -> set[str]:
    """Return the names of the parameters that ``train`` names."""
    if train == "all":
        return {name for name, _ in network.named_parameters()}
    if train == "head":
        return {f"head.{name}" for name, _ in network.head.named_parameters()}
    layers, number = number_layers(network), int(train.removeprefix("last:"))
    head = max(layers.values())
    if number >= head:
        why = f"is more blocks than {network.row.name} has: last:{head - 1} trains all, but not the embedding."
        raise UserError(why, option="train", value=train)
    return {name for name, layer in layers.items() if layer >= head - number}


def set_training_mode(network: nn.Module) -> None:
    """Put a network into training mode, but for the batch norms in frozen parts: they use and keep their statistics."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._NormBase):
                    part.eval()
