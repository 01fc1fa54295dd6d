"""What is computed of all images of a split once, and kept: their features, or anything as costly."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from vitrun import data, models, recipes
from vitrun.engine.inference import compute_features, run_inference
from vitrun.engine.inputs import make_eval_batches
from vitrun.models.checkpoint_file import save_tensors
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


def extract_features(
    recipe: recipes.Fewshot | recipes.Dedup,
    run: Run,
    machine: Machine,
    loaded: models.LoadedModel,
    source: recipes.Data,
    part: str,
    split: data.Split,
) -> tuple[Tensor, Tensor]:
    """Features [N, D] and labels [N] of a split; kept in a file that weights, images and view name.

    Two sets may have the same keys and labels (a corrupted copy of one, another column of images): the options of their
    ``source`` tell them apart, and its ``part`` the two of a source.
    """

    def compute() -> dict[str, Tensor]:
        batches = make_eval_batches(split, loaded.res, recipe.view, recipe.batch, machine)
        network = loaded.network.to(machine.device)
        with run.screen.progress("features", len(split), 0) as bar:
            found, labels = compute_features(network, batches, machine, run.progress_callback(bar))
        return {"features": torch.from_numpy(found), "labels": torch.from_numpy(labels)}

    found = cached(
        "features", features_cache_key(recipe, machine, loaded, source, part, split), compute, len(split), run
    )
    return found["features"], found["labels"]


def extract_layer_features(
    recipe: recipes.Fewshot,
    run: Run,
    machine: Machine,
    loaded: models.LoadedModel,
    part: str,
    split: data.Split,
    layers: Sequence[int],
) -> tuple[dict[int, Tensor], Tensor]:
    """Features [N, D] of each of some layers, and labels [N], of a split; kept in a file as those of the head.

    ``mean`` is that over the patches' tokens, each normed as the next layer would (ImageGPT, Chen et al. 2020, section
    2.3; the norm's own scale and shift are left out, for standardising undoes them); ``token`` the class token, normed.
    """
    prefix, pooling = loaded.network.prefix, recipe.linear.pooling

    def pooled(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        tokens = models.hidden_states(loaded.network, images)
        normed = [functional.layer_norm(tokens[layer].float(), tokens[layer].shape[-1:]) for layer in layers]
        return *(x[:, prefix:].mean(1) if pooling == "mean" else x[:, 0] for x in normed), labels

    def compute() -> dict[str, Tensor]:
        batches = make_eval_batches(split, loaded.res, recipe.view, recipe.batch, machine)
        network = loaded.network.to(machine.device)
        with run.screen.progress("features", len(split), 0) as bar:
            *found, labels, _ = run_inference(network, batches, pooled, machine, run.progress_callback(bar))
        tensors = {f"layer{layer}": torch.from_numpy(x) for layer, x in zip(layers, found)}
        return tensors | {"labels": torch.from_numpy(labels)}

    where = (*features_cache_key(recipe, machine, loaded, recipe.data, part, split), pooling, tuple(layers))
    found = cached("features", where, compute, len(split), run)
    return {layer: found[f"layer{layer}"] for layer in layers}, found["labels"]


def features_cache_key(
    recipe: recipes.Fewshot | recipes.Dedup,
    machine: Machine,
    loaded: models.LoadedModel,
    source: recipes.Data,
    part: str,
    split: data.Split,
) -> tuple[Any, ...]:
    """What features depend on: weights, images, view and precision."""
    weights = weights_fingerprint(recipe.init, recipe.runs)
    return weights, repr(source), part, split.fingerprint, loaded.res, repr(recipe.view), str(machine.dtype)


def cached(what: str, facts: tuple[Any, ...], compute: Callable[[], dict[str, Tensor]], images: int, run: Run) -> dict:
    """The tensors that ``compute`` makes, read from a file named after ``features_cache_key`` where they were made before."""
    file = run.recipe.runs / what / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.safetensors"
    if distributed.call_on_rank_zero(file.exists):
        try:
            tensors = load_cached(file)
            run.log(f"{what} of {images} images read from {file}")
            return tensors
        except (SafetensorError, OSError, ValueError) as error:
            run.warn(f"{file} is damaged ({error}): made again")
    tensors = compute()
    if distributed.rank() == 0:
        try:
            file.parent.mkdir(exist_ok=True)
            save_tensors(file, tensors, {"sha256": hash_tensors(tensors)})
        except (SafetensorError, OSError) as error:
            raise run.unwritable_error(file, error) from None
    return tensors


def load_cached(file: Path) -> dict[str, Tensor]:
    """The tensors of a file that :func:`cached` wrote; a ValueError where they are others."""
    with safe_open(file, "pt") as kept:
        tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
        if (kept.metadata() or {}).get("sha256") != hash_tensors(tensors):
            raise ValueError("the content is not what was saved")
    return tensors


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of the tensors' bytes, in the order of their names."""
    code = hashlib.sha256()
    for name in sorted(tensors):
        code.update(tensors[name].numpy().data)
    return code.hexdigest()
