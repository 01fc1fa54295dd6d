"""Load published weights: a file, a folder, a tag of timm, or a repository on the Hub."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from vitrun.errors import ExitCode, UserError
from vitrun.models.assemble import LoadedModel
from vitrun.models.assemble_clip import assemble_model
from vitrun.models.formats import recognise
from vitrun.models.hub import load_repository, load_tag
from vitrun.models.tensor_files import read_weights
from vitrun.models.torchvision_weights import load_published
from vitrun.recipes import ViT


def load(
    source: str | Path, classes: int | None = None, res: int | None = None, init_weights: str = "auto"
) -> LoadedModel:
    """Return the network [B, 3, res, res] -> [B, classes] of published weights, with a report of every tensor.

    ``source`` is a file of safetensors, numpy or ``torch.save``, a folder of timm or transformers, such a folder on
    the Hub, ``hf:ORG/NAME@REVISION``, or ``timm:NAME.TAG@COMMIT`` or ``torchvision:NAME.WEIGHTS``. With
    ``classes=None`` the head stays; a number replaces it and the pre-logits layer by a zero head (section 3.2).
    ``res=None`` is the weights' own resolution; for another the position table is resampled. ``init_weights`` chooses
    of plain and averaged weights (:func:`vitrun.models.formats.wrappers.unwrap`). Raise a UserError if the weights are
    damaged, not finite, or of an unknown network.
    """
    kind, _, name = str(source).partition(":")
    if kind in ("timm", "torchvision"):
        if init_weights != "auto":
            raise UserError(f"{source} is one set of weights.", ExitCode.COMMAND, "init_weights", init_weights)
        loaded = (load_tag if kind == "timm" else load_published)(name, classes, res)
    elif kind == "hf":
        loaded = load_repository(name, classes, res, init_weights)
    else:
        loaded = assemble_model(recognise(read_weights(source), init_weights), classes, res)
    return loaded


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
