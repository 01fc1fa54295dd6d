"""Published weights by whatever names them: a file, a folder, a tag of timm's, a repository on the Hub."""

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
    """The network [B, 3, res, res] -> [B, classes] of published weights, every tensor of them accounted for.

    ``source`` is a file (``.npz``, ``.safetensors``, ``.pt``), a folder of timm or transformers, ``timm:NAME.TAG``,
    or ``hf:ORG/NAME@REVISION``, such a folder on the Hub.
    ``classes=None`` keeps the head; a number puts a zero head in the place of it and of the pre-logits layer (section
    3.2). ``res=None`` is the weights' own resolution; another resamples the position table.
    """
    if str(source).startswith("timm:"):
        return load_tag(str(source).removeprefix("timm:"), classes, res)
    if str(source).startswith("hf:"):
        return load_repository(str(source).removeprefix("hf:"), classes, res)
    return assemble_network(recognise(read_weights(source)), classes, res)


def with_dropout(loaded: LoadedModel, rate: float | None) -> LoadedModel:
    """The same network, a ViT, with dropout of this rate in all its places; None leaves it as it is.

    Others have none, so that a rate of 0 is theirs too.
    """
    if rate is None or not rate and not isinstance(loaded.model, ViT):
        return loaded
    if not isinstance(loaded.model, ViT):
        raise UserError(f"dropout={rate:g} is for vision transformers of vitrun's own; {loaded.model.name} is none.")
    for module in loaded.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
    return replace(loaded, model=replace(loaded.model, dropout=rate))
