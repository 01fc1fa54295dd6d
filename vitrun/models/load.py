"""Load published weights: a file, a folder, a tag of timm, or a repository on the Hub."""

from dataclasses import replace
from pathlib import Path

from vitrun.errors import ExitCode, UserError
from vitrun.models.assemble import LoadedModel
from vitrun.models.assemble_clip import assemble_model
from vitrun.models.formats import recognise
from vitrun.models.hub import load_repository, load_tag
from vitrun.models.noise import set_noise
from vitrun.models.tensor_files import read_weights
from vitrun.models.timm_wrapper import wrap_timm_network
from vitrun.models.torchvision_weights import load_published
from vitrun.recipes import BiT, ResNet, Timm, ViT


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


def with_noise(loaded: LoadedModel, dropout: float | None, stochastic_depth: float | None = None) -> LoadedModel:
    """Return a loaded network with other rates of dropout and stochastic depth in training; None leaves one unchanged.

    Networks without them have rates of 0: raise a UserError for another.
    """
    rates = {"dropout": dropout, "stochastic_depth": stochastic_depth}
    changed = [name for name, rate in rates.items() if rate is not None and rate != getattr(loaded.model, name, 0)]
    if not changed:
        return loaded
    model = loaded.model
    if not isinstance(model, ViT | BiT | ResNet | Timm):
        why = f"is not for {model.name}, which has none: only ViTs, ResNets and networks of timm have it."
        raise UserError(why, option=changed[0], value=f"{rates[changed[0]]:g}")
    row = replace(
        model,
        dropout=model.dropout if dropout is None else dropout,
        stochastic_depth=model.stochastic_depth if stochastic_depth is None else stochastic_depth,
    )
    if isinstance(row, Timm):
        network = wrap_timm_network(row, loaded.classes, loaded.res)
        network.load_state_dict(loaded.network.state_dict())
        loaded = replace(loaded, network=network)
    else:
        set_noise(loaded.network, row)
    return replace(loaded, model=row)
