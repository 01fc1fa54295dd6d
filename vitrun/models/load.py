"""Load published weights: a file, a folder, a tag of timm, or a repository on the Hub."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from vitrun.errors import UserError
from vitrun.models.assemble import LoadedModel, assemble_network
from vitrun.models.formats import recognise
from vitrun.models.hub import load_repository, load_tag
from vitrun.models.tensor_files import read_weights
from vitrun.recipes import ViT


def load(source: str | Path, classes: int | None = None, res: int | None = None) -> LoadedModel:
    """Return the network [B, 3, res, res] -> [B, classes] of published weights, with a report of every tensor.

    ``source`` is a file (``.npz``, ``.safetensors``, ``.pt``), a folder of timm or transformers, ``timm:NAME.TAG``,
    or such a folder on the Hub, ``hf:ORG/NAME@REVISION``. With ``classes=None`` the head stays; a number replaces it
    and the pre-logits layer by a zero head (section 3.2). ``res=None`` is the weights' own resolution; for another the
    position table is resampled. Raise a UserError if the weights are damaged, or of an unknown network.
    """
    if str(source).startswith("timm:"):
        return load_tag(str(source).removeprefix("timm:"), classes, res)
    if str(source).startswith("hf:"):
        return load_repository(str(source).removeprefix("hf:"), classes, res)
    return assemble_network(recognise(read_weights(source)), classes, res)


def with_dropout(loaded: LoadedModel, rate: float | None) -> LoadedModel:
    """Set the rate of all dropout layers of a ViT; None leaves them unchanged.

    Other networks have none: for them raise a UserError if the rate is not 0.
    """
    if rate is None or not rate and not isinstance(loaded.model, ViT):
        return loaded
    if not isinstance(loaded.model, ViT):
        raise UserError(
            f"{loaded.model.name} has no dropout, only vitrun's own vision transformers have it.",
            option="dropout",
            value=f"{rate:g}",
        )
    for module in loaded.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
    return replace(loaded, model=replace(loaded.model, dropout=rate))
