"""From published weights to a network that computes what they were trained for, and an account of every tensor."""

from dataclasses import dataclass, replace
from math import isqrt

import torch
from torch import Tensor, nn

from vitrun.models.build import build_uninitialized
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping
from vitrun.models.load_report import LoadReport, describe_model, format_names
from vitrun.models.positions import resample_grid, resample_line
from vitrun.models.tensor_files import weights_error
from vitrun.models.timm_wrapper import TimmNetwork, resize_timm_network, zero_linear
from vitrun.models.vit import fixed_positions
from vitrun.recipes import BiT, Timm, ViT

DEFAULT_RES = 224  # of weights that do not tell theirs: the resolution of pretraining (arXiv 2010.11929, section 4.1)


@dataclass(frozen=True)
class LoadedModel:
    """A network with weights from a file, the row that describes it, and what became of each tensor."""

    network: nn.Module
    model: ViT | BiT | Timm
    classes: int
    res: int
    report: LoadReport
    names: tuple[str, ...] = ()  # of the classes, where they are known


def assemble_network(source: IdentifiedWeights, classes: int | None, res: int | None) -> LoadedModel:
    """The network of what was found in a file."""
    if isinstance(source.model, Timm):
        return assemble_timm_network(source, classes, res)
    require_head(source, classes)
    model, res = source.model, res or source.res or DEFAULT_RES
    if classes is not None and isinstance(model, ViT):
        model = replace(model, pre_logits=False)
    network = build_uninitialized(model, classes or source.classes, res)
    found, dropped = match_tensors(source, network, classes is not None)
    tensors, resized = {}, {}
    for name, like in network.state_dict().items():
        if name in found:
            tensors[name] = convert_tensor(source, found[name], like.shape, resized)
        else:
            tensors[name] = fixed_positions(model, network.side) if name == "pos_embed" else torch.zeros(like.shape)
    if source.normalization:
        fold_normalization(tensors, source)
    network.load_state_dict(tensors, assign=True)
    new = {f"zero head of {classes} classes": ["head.weight", "head.bias"]} if classes is not None else {}
    notes = source.notes if classes is not None else source.notes + note_zero_head(network)
    report = LoadReport(
        describe_model(model), len(found) - sum(map(len, resized.values())), resized, dropped, new, notes
    )
    return LoadedModel(network, model, classes or source.classes, res, report, source.names if classes is None else ())


def assemble_timm_network(source: IdentifiedWeights, classes: int | None, res: int | None) -> LoadedModel:
    """timm's own network of what was found in a file."""
    require_head(source, classes)
    network = build_uninitialized(source.model, source.classes or 1, source.res)
    found, dropped = match_tensors(source, network, classes is not None)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    tensors = {name: convert_tensor(source, entry, shapes[name], {}) for name, entry in found.items()}
    network.load_state_dict(tensors, strict=False)
    if source.normalization:
        network.set_normalization(*source.normalization)
    found = adapt_timm_network(network, source.classes, source.res, classes, res, dropped)
    return replace(found, names=source.names if classes is None else ())


def adapt_timm_network(
    network: TimmNetwork, had: int | None, own: int, classes: int | None, res: int | None, dropped: dict
) -> LoadedModel:
    """timm's own network with its weights, brought to a resolution by timm's means, its head kept or replaced."""
    tensors, resized, new = network.state_dict(), {}, {}
    if res not in (None, own) and (names := resize_timm_network(network, own, res)):
        resized = {f"for {res} by timm": names}
    if classes is not None:
        new = {f"zero head of {classes} classes": ["head.weight", "head.bias"]}
        network.head = zero_linear(network.head.in_features, classes)
    kept = len(tensors) - sum(map(len, [*resized.values(), *new.values()]))
    report = LoadReport(describe_model(network.row), kept, resized, dropped, new, [])
    return LoadedModel(network, network.row, classes or had, res or own, report)


def match_tensors(
    source: IdentifiedWeights, network: nn.Module, new_head: bool
) -> tuple[dict[str, TensorMapping], dict[str, list[str]]]:
    """The entry of each tensor to be taken, and the names in the file that go unused, by reason.

    A UserError where the file lacks a tensor of the network, or has one that has no place.
    """
    found, dropped = {}, {}
    given = set()  # tensors that need not come from the file
    if isinstance(source.model, ViT) and source.model.positions == "sincos2d":
        given = {"pos_embed"}
    elif isinstance(source.model, Timm) and source.normalization:
        given = {"scale", "shift"}
    for entry in source.mappings:
        here = [name for name in entry.theirs if name in source.weights]
        if new_head and entry.ours.startswith("head."):
            given.add(entry.ours)
            dropped.setdefault(f"head of {source.classes or 'no'} classes", []).extend(here)
        elif new_head and entry.ours.startswith("pre_logits."):
            dropped.setdefault("pre-logits layer", []).extend(here)
        elif entry.ours not in given:
            found[entry.ours] = entry
    lacking = [name for entry in found.values() for name in entry.theirs if name not in source.weights]
    lacking += [name for name in network.state_dict() if name not in found and name not in given]
    if lacking:
        raise weights_error(
            source.weights.path, f"these weights are {describe_model(source.model)}, and lack {format_names(lacking)}."
        )
    if left := source.unused_names():
        what = f"{describe_model(source.model)}, which has no place for {format_names(left)}"
        raise weights_error(source.weights.path, f"these weights are {what}.")
    return found, {why: names for why, names in {**dropped, **source.ignored}.items() if names}


def convert_tensor(
    source: IdentifiedWeights, entry: TensorMapping, shape: torch.Size, resized: dict[str, list[str]]
) -> Tensor:
    """The tensor of an entry, its positions resampled where their number differs, which ``resized`` then tells."""
    try:
        tensor = entry.convert(*[source.weights[name] for name in entry.theirs]).float().contiguous()
    except (RuntimeError, IndexError) as error:
        raise weights_error(source.weights.path, f"{entry.theirs[0]} has a shape that does not fit: {error}") from None
    if tensor.shape == shape:
        return tensor
    if entry.ours.startswith("pos_embed") and tensor.dim() == 3 and tensor.shape[2] == shape[2]:
        return resample_positions(tensor, entry.ours, source.model, shape[1], resized).contiguous()
    what = f"{format_names(list(entry.theirs))} makes {tuple(tensor.shape)}, not {tuple(shape)}"
    raise weights_error(source.weights.path, f"these weights are {describe_model(source.model)}, and {what}.")


def resample_positions(table: Tensor, name: str, model: ViT, rows: int, resized: dict[str, list[str]]) -> Tensor:
    """A position table [L, n, D] for another resolution, [L, rows, D]; ``resized`` gets a line that gives the sizes."""
    old = table.shape[1]
    if model.positions != "learned":
        kind = "relative offsets" if model.positions == "relative" else "rows and columns"
        resized.setdefault(f"{kind} {old} -> {rows}", []).append(name)
        return resample_line(table, rows)
    prefix = int(model.head == "token")
    before, after = isqrt(old - prefix), isqrt(rows - prefix)
    resized.setdefault(f"position table {before}x{before} -> {after}x{after}", []).append(name)
    return resample_grid(table, after, prefix)


def fold_normalization(tensors: dict[str, Tensor], source: IdentifiedWeights) -> None:
    """Change the patch embedding so that it takes images in [-1, 1] as it took ``(image - mean) / std`` of [0, 1]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in source.normalization)
    kernels = tensors["patch_embed.proj.weight"]
    tensors["patch_embed.proj.bias"] += (kernels * ((0.5 - mean) / std)).sum((1, 2, 3))
    tensors["patch_embed.proj.weight"] = kernels * (0.5 / std)


def require_head(source: IdentifiedWeights, classes: int | None) -> None:
    """A UserError where a head is to be kept and there is none."""
    if classes is None and source.classes is None:
        what = f"{describe_model(source.model)} without a head"
        raise weights_error(source.weights.path, f"{what}: fit for fine-tuning, not for testing.")


def note_zero_head(network: nn.Module) -> list[str]:
    """A note where the kept head is all zeros, as Google published its ImageNet-21k models of 2020."""
    return (
        []
        if network.head.weight.any() or not len(network.head.weight)
        else ["the head is all zeros, as some were published: it predicts nothing"]
    )
