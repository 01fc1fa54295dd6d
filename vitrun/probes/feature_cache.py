"""Features of whole splits, and other tensors that are costly to compute, cached in files."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vitrun import data, models, recipes
from vitrun.engine.inference import compute_features, run_inference
from vitrun.engine.inputs import make_eval_batches
from vitrun.models.checkpoint_file import save_tensors
from vitrun.models.vit import ViT
from vitrun.recipes import trees
from vitrun.runs import content
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine
from vitrun.runtime.files import remove_partials
from vitrun.runtime.process import share_folder

NAME = r"[0-9a-f]{16}\.safetensors"  # of a file of features
LIBRARIES = ("vitrun", "torch", "timm", "numpy", "pillow")  # whose versions features may depend on


@dataclass(frozen=True)
class FeatureExtractor:
    """Compute a network's features of splits, or read them from a cache keyed by all that they depend on."""

    recipe: recipes.Fewshot | recipes.Dedup
    run: Run
    machine: Machine
    loaded: models.LoadedModel

    def extract(self, source: recipes.Data, part: str, split: data.Split) -> tuple[Tensor, Tensor]:
        """Return the features [N, D], the input of the head, and the labels [N], of the ``part`` of a data set."""

        def compute() -> dict[str, Tensor]:
            batches, network = self.start(split)
            with self.run.screen.progress("features", len(split), 0) as bar:
                tick = self.run.progress_callback(bar)
                features, labels = compute_features(network, batches, self.machine, tick)
            return {"features": torch.from_numpy(features), "labels": torch.from_numpy(labels)}

        key = self.cache_key(source, part, split)
        tensors = cached("features", key, compute, len(split), self.run)
        return tensors["features"], tensors["labels"]

    def extract_layers(
        self, source: recipes.Data, part: str, split: data.Split, layers: Sequence[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Return the features [N, D] of each of ``layers``, and the labels [N], of the ``part`` of a data set.

        With ``linear.pooling=mean`` these are the mean over the patches' tokens, each normed as the next layer would
        norm it (ImageGPT, Chen et al. 2020, section 2.3; without the norm's own scale and shift, which standardizing
        undoes); with ``token`` they are the class token, normed.
        """
        network = cast(ViT | models.IGpt, self.loaded.network)  # other networks have no layers of tokens
        prefix, pooling = network.prefix, cast(recipes.Fewshot, self.recipe).linear.pooling

        def pool_layers(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
            tokens = models.hidden_states(network, images)
            normed = [models.normalize_tokens(network, tokens[layer]) for layer in layers]
            return *(x[:, prefix:].mean(1) if pooling == "mean" else x[:, 0] for x in normed), labels

        def compute() -> dict[str, Tensor]:
            batches, _ = self.start(split)
            with self.run.screen.progress("features", len(split), 0) as bar:
                tick = self.run.progress_callback(bar)
                *features, labels, _ = run_inference(network, batches, pool_layers, self.machine, tick)
            tensors = {f"layer{layer}": torch.from_numpy(x) for layer, x in zip(layers, features)}
            return tensors | {"labels": torch.from_numpy(labels)}

        key = (*self.cache_key(source, part, split), pooling, tuple(layers))
        tensors = cached("features", key, compute, len(split), self.run)
        return {layer: tensors[f"layer{layer}"] for layer in layers}, tensors["labels"]

    def start(self, split: data.Split) -> tuple[Iterator[data.Batch], models.Network]:
        """Return the batches of a split and the network on its device."""
        batches = make_eval_batches(split, self.loaded.res, self.recipe.view, self.recipe.batch, self.machine)
        return batches, self.loaded.network.to(self.machine.device)

    def cache_key(self, source: recipes.Data, part: str, split: data.Split) -> tuple[object, ...]:
        """Return all that features depend on: weights, images, view, precision, kind of device, and libraries.

        Two data sets may have the same keys and labels (a corrupted copy of one, another column of images): the options
        of their ``source`` tell them apart, and ``part`` the two of a data set.
        """
        fingerprint = weights_fingerprint(cast(str, self.recipe.init), self.recipe.runs)
        weights = (fingerprint, self.recipe.init_weights, self.loaded.commit)
        images = (part, split.fingerprint, *identify_images(source))
        computing = (self.loaded.res, repr(self.recipe.view), str(self.machine.dtype), self.machine.device.type)
        return weights, images, computing, *(version(name) for name in LIBRARIES)


def identify_images(source: recipes.Data) -> tuple[str, ...]:
    """Return what identifies the images of a data set besides the facts of its splits: options, bytes, and times."""
    options = {"data": trees.to_plain_tree(source)}
    return repr(source), repr(content.identify_content(options)), repr(content.describe_state(options))


def cached(
    folder: str, cache_key: tuple[object, ...], compute: Callable[[], dict[str, Tensor]], images: int, run: Run
) -> dict[str, Tensor]:
    """Return the tensors of ``compute()``, from a file if they were computed before.

    The file is in ``folder`` beside the runs, is named by a hash of ``cache_key``, and is replaced if it is damaged.
    ``images`` is the number of images, for the log.
    """
    name = hashlib.sha256(repr(cache_key).encode()).hexdigest()[:16]
    file = run.recipe.runs / folder / f"{name}.safetensors"
    if distributed.call_on_rank_zero(file.exists):
        try:
            tensors = load_cached(file)
            run.log(f"{folder} of {images} images read from {file}")
            return tensors
        except (SafetensorError, OSError, ValueError) as error:
            run.warn(f"{file} is damaged ({error}): computing it again")
    tensors = compute()
    if distributed.rank() == 0:
        try:
            file.parent.mkdir(exist_ok=True)
            with share_folder(file.parent, lambda: remove_partials(file.parent, NAME)):
                save_tensors(file, tensors, {"sha256": hash_tensors(tensors)})
        except OSError as error:
            raise run.unwritable_error(file, error) from None
    return tensors


def load_cached(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file that :func:`cached` wrote; raise ValueError if it has changed since."""
    with safe_open(file, "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        if (content.metadata() or {}).get("sha256") != hash_tensors(tensors):
            raise ValueError("the content is not what was saved")
    return tensors


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of the tensors' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().data)
    return digest.hexdigest()
