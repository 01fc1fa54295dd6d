"""Assemble a network from published weights, and report on every tensor."""

from dataclasses import dataclass, replace
from math import isqrt

import torch
from torch import Tensor

from vitrun.errors import ExitCode, UserError, is_out_of_memory
from vitrun.models.build import build_uninitialized
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping
from vitrun.models.load_report import LoadReport, describe_model, format_names
from vitrun.models.network import Network
from vitrun.models.positions import resample_grid, resample_line
from vitrun.models.tensor_files import weights_error
from vitrun.models.timm_wrapper import TimmNetwork, resize_timm_network, wrap_timm_network, zero_linear
from vitrun.models.vit import ViT as ViTNetwork
from vitrun.models.vit import fixed_positions
from vitrun.recipes import DEFAULT_RES, ClipResNet, Detector, IGpt, Model, ResNet, Timm, ViT


class NoHead(UserError):
    """Weights that have no head, where it is that of the weights which is to be used."""


@dataclass(frozen=True)
class LoadedModel:
    """A network with loaded weights, its row, and the report on each tensor."""

    network: Network
    model: Model
    classes: int
    res: int
    report: LoadReport | None  # None for random weights
    names: tuple[str, ...] = ()  # of the classes, if known
    commit: str | None = None  # of weights from the Hub by a tag, if it is known


def assemble_network(source: IdentifiedWeights, classes: int | None, res: int | None) -> LoadedModel:
    """Return the network of a file whose layout is known."""
    if isinstance(source.model, Timm):
        return assemble_timm_network(source, source.model, classes, res)
    number = count_classes(source, classes)
    model, res = source.model, res or source.res or DEFAULT_RES
    if classes is not None and isinstance(model, ViT):
        model = replace(model, pre_logits=False)
    if isinstance(model, IGpt) and res != source.res:
        why = f"{model.name} has a position for each pixel of images of {source.res} pixels: leave res out."
        raise UserError(why, option="res", value=str(res))
    network = build_uninitialized(model, number, res)
    mappings, dropped = match_tensors(source, network, classes is not None)
    tensors: dict[str, Tensor] = {}
    resized: dict[str, list[str]] = {}
    for name, like in network.state_dict().items():
        if name in mappings:
            tensors[name] = convert_tensor(source, mappings[name], like, resized).to(like.dtype)
        elif name == "pos_embed" and isinstance(network, ViTNetwork):
            tensors[name] = fixed_positions(network.row, network.side)
        else:
            tensors[name] = torch.zeros(like.shape)
    if source.normalization:
        fold_normalization(tensors, *source.normalization)
    network.load_state_dict(tensors, assign=True)
    new = {f"zero head of {classes} classes": ["head.weight", "head.bias"]} if classes is not None else {}
    if source.zeros:
        new["zero, since the network of the file has none"] = [*source.zeros]
    notes = source.notes if classes is not None else source.notes + note_zero_head(network)
    report = LoadReport(
        describe_model(model), len(mappings) - sum(map(len, resized.values())), resized, dropped, new, notes
    )
    return LoadedModel(network, model, number, res, report, source.names if classes is None else ())


def assemble_timm_network(source: IdentifiedWeights, model: Timm, classes: int | None, res: int | None) -> LoadedModel:
    """Return timm's network of a file whose layout is known."""
    number, old_res = count_classes(source, classes), source.res or DEFAULT_RES
    network = wrap_timm_network(model, source.classes or 1, old_res)
    mappings, dropped = match_tensors(source, network, classes is not None)
    state = network.state_dict()
    tensors = {name: convert_tensor(source, mapping, state[name], {}) for name, mapping in mappings.items()}
    network.load_state_dict(tensors, strict=False)
    if source.normalization:
        network.set_normalization(*source.normalization)
    if "head.bias" in source.zeros:
        torch.nn.init.zeros_(network.head.bias)
    loaded = adapt_timm_network(network, old_res, classes, res, dropped)
    if loaded.report:
        loaded.report.notes.extend(source.notes)
    return replace(loaded, classes=number, names=source.names if classes is None else ())


def adapt_timm_network(
    network: TimmNetwork, old_res: int, classes: int | None, res: int | None, dropped: dict[str, list[str]]
) -> LoadedModel:
    """Return a network of timm with the resolution ``res`` and a new head of ``classes``, unless these are None."""
    tensors = network.state_dict()
    resized: dict[str, list[str]] = {}
    new: dict[str, list[str]] = {}
    if res not in (None, old_res) and (names := resize_timm_network(network, old_res, res)):
        resized = {f"for {res} by timm": names}
    if classes is not None:
        new = {f"zero head of {classes} classes": ["head.weight", "head.bias"]}
        network.head = zero_linear(network.head.in_features, classes)
    unchanged = len(tensors) - sum(map(len, [*resized.values(), *new.values()]))
    report = LoadReport(describe_model(network.row), unchanged, resized, dropped, new, [])
    return LoadedModel(network, network.row, network.head.out_features, res or old_res, report)


def match_tensors(
    source: IdentifiedWeights, network: Network, new_head: bool
) -> tuple[dict[str, TensorMapping], dict[str, list[str]]]:
    """Return the mapping of each tensor to load, and the unused names in the file by reason.

    Raise a UserError if the file lacks a tensor of the network, or has one that the network lacks.
    """
    mappings: dict[str, TensorMapping] = {}
    dropped: dict[str, list[str]] = {}
    computed = set(source.zeros)  # tensors that need not come from the file
    if new_head or source.classes == 0:
        computed |= {"head.weight", "head.bias"}
    if isinstance(source.model, ClipResNet) and source.normalization:
        computed.add("shift")
    if isinstance(source.model, ViT) and source.model.positions == "sincos2d":
        computed.add("pos_embed")
    elif isinstance(source.model, Timm) and source.normalization:
        computed |= {"scale", "shift"}
    elif isinstance(source.model, Detector) and source.normalization:
        computed |= {"body.scale", "body.shift"}  # of a ResNet; a ViT has none
    for mapping in source.mappings:
        present = [name for name in mapping.theirs if name in source.weights]
        if new_head and mapping.ours.startswith("head."):
            computed.add(mapping.ours)
            dropped.setdefault(f"head of {source.classes or 'no'} classes", []).extend(present)
        elif new_head and mapping.ours.startswith("pre_logits."):
            dropped.setdefault("pre-logits layer", []).extend(present)
        elif mapping.ours not in computed:
            mappings[mapping.ours] = mapping
    missing = [name for mapping in mappings.values() for name in mapping.theirs if name not in source.weights]
    missing += [name for name in network.state_dict() if name not in mappings and name not in computed]
    require_tensors(source, missing)
    if unexpected := source.unused_names():
        what = f"{describe_model(source.model)}, which has no place for {format_names(unexpected)}"
        raise weights_error(source.weights.path, f"these weights are {what}.")
    return mappings, {reason: names for reason, names in {**dropped, **source.ignored}.items() if names}


def require_tensors(source: IdentifiedWeights, missing: list[str]) -> None:
    """Raise a UserError if tensors are missing."""
    if missing:
        raise weights_error(
            source.weights.path, f"these weights are {describe_model(source.model)}, and lack {format_names(missing)}."
        )


def convert_tensor(
    source: IdentifiedWeights, mapping: TensorMapping, like: Tensor, resized: dict[str, list[str]]
) -> Tensor:
    """Return the tensor ``like`` of the network; resample a position table of another size, and note it in ``resized``.

    Raise a UserError if the shape does not fit, or if a value is not finite or of another kind.
    """
    shape = like.shape
    try:
        tensors = [source.weights[name] for name in mapping.theirs]
        for name, tensor in zip(mapping.theirs, tensors):
            if like.is_floating_point() and not tensor.is_floating_point():
                kind = str(tensor.dtype).removeprefix("torch.")
                why = f"{name} has values of {kind}, not weights: they may be quantized. Give those of full precision."
                raise weights_error(source.weights.path, why)
            check_finite(str(source.weights.path), name, tensor)
        tensor = mapping.convert(*tensors).float().contiguous()
    except (RuntimeError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        raise weights_error(
            source.weights.path, f"{mapping.theirs[0]} has a shape that does not fit: {error}"
        ) from None
    if tensor.shape == shape:
        return tensor
    if isinstance(source.model, ResNet) and ".relative_" in mapping.ours and tensor.shape[1:] == shape[1:]:
        resized.setdefault(f"relative offsets {len(tensor)} -> {shape[0]}", []).append(mapping.ours)
        return resample_line(tensor[None], shape[0])[0].contiguous()
    is_table = mapping.ours.startswith("pos_embed") and tensor.dim() == 3 and tensor.shape[2] == shape[2]
    if is_table and isinstance(source.model, ViT | ClipResNet):
        return resample_positions(tensor, mapping.ours, source.model, shape[1], resized).contiguous()
    what = f"{format_names(list(mapping.theirs))} gives the shape {tuple(tensor.shape)}, not {tuple(shape)}"
    raise weights_error(source.weights.path, f"these weights are {describe_model(source.model)}, and {what}.")


def check_finite(source: str, name: str, tensor: Tensor) -> None:
    """Raise a UserError (exit code 5) that names a tensor if a value in it is not a finite number."""
    if tensor.is_floating_point() and (number := int((~tensor.isfinite()).sum())):
        why = f"{number:,} of the {tensor.numel():,} values of {name} are not finite numbers"
        raise UserError(
            f"{source}: {why}: the training that made these weights diverged, or the file is damaged. Use others.",
            ExitCode.NUMERICS,
        )


def resample_positions(
    table: Tensor, name: str, model: ViT | ClipResNet, rows: int, resized: dict[str, list[str]]
) -> Tensor:
    """Resample a position table [L, n, D] to [L, rows, D], and add its name to ``resized`` with both sizes."""
    old = table.shape[1]
    if isinstance(model, ViT) and model.positions != "learned":
        kind = "relative offsets" if model.positions == "relative" else "rows and columns"
        resized.setdefault(f"{kind} {old} -> {rows}", []).append(name)
        return resample_line(table, rows)
    prefix = int(isinstance(model, ClipResNet) or model.head == "token")  # that ResNet has the mean as a token
    before, after = isqrt(old - prefix), isqrt(rows - prefix)
    resized.setdefault(f"position table {before}x{before} -> {after}x{after}", []).append(name)
    return resample_grid(table, after, prefix)


def fold_normalization(tensors: dict[str, Tensor], means: list[float], stds: list[float]) -> None:
    """Adapt the first layer, which was trained on ``(image - mean) / std`` of [0, 1], for images in [-1, 1].

    What the mean adds to each patch goes into the bias of the embedding, or without one into the positions of patches.
    """
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (means, stds))
    if "body.shift" in tensors:  # of the ResNet of a detector
        tensors["body.scale"], tensors["body.shift"] = (0.5 / std)[0], ((0.5 - mean) / std)[0]
        return
    if "shift" in tensors:
        tensors["shift"] = 2 * mean[0] - 1
        tensors["stem.conv1.weight"] = tensors["stem.conv1.weight"] * (0.5 / std)
        return
    body = "body." if "body.patch_embed.proj.weight" in tensors else ""  # of a detector
    kernels = tensors[f"{body}patch_embed.proj.weight"]
    offset = (kernels * ((0.5 - mean) / std)).sum((1, 2, 3))
    if f"{body}patch_embed.proj.bias" in tensors:
        tensors[f"{body}patch_embed.proj.bias"] += offset
    else:
        tensors["pos_embed"][:, int("cls_token" in tensors) :] += offset
    tensors[f"{body}patch_embed.proj.weight"] = kernels * (0.5 / std)


def count_classes(source: IdentifiedWeights, classes: int | None) -> int:
    """Return the number of classes of the network: ``classes``, or those of the head of the weights.

    Raise NoHead if the weights have no head.
    """
    number = classes or source.classes
    if number is None:
        what = f"{source.weights.path}: {describe_model(source.model)} without a head"
        raise NoHead(f"{what}: use it for fine-tuning, not for testing.", ExitCode.CHECKPOINT)
    return number


def note_zero_head(network: Network) -> list[str]:
    """Return a note if the head is all zeros, as in Google's ImageNet-21k models of 2020; else no note."""
    if network.head.weight.any() or not len(network.head.weight):
        return []
    return ["the head is all zeros, as in some published weights: it predicts nothing"]
