"""Features of the images of a split, and other tensors that are costly to compute, cached in files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vitrun import data, models, recipes
from vitrun.engine.inference import run_inference
from vitrun.engine.inference_batches import InferenceLayout, choose_layout
from vitrun.engine.inputs import make_eval_batches
from vitrun.models.compiled_attention import load_attention
from vitrun.models.gelu import load_gelu
from vitrun.models.vit import ViT
from vitrun.probes.feature_files import FeatureFiles, check_content, write_hashed
from vitrun.recipes import trees
from vitrun.runs import content
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

NAME = r"[0-9a-f]{16}\.safetensors"  # of a file of :func:`cached`
LIBRARIES = ("vitrun", "torch", "timm", "numpy", "pillow")  # whose versions features may depend on


@dataclass(frozen=True)
class FeatureExtractor:
    """Compute a network's features of images, or read them from a cache keyed by all that they depend on."""

    recipe: recipes.Fewshot | recipes.Dedup
    run: Run
    machine: Machine
    loaded: models.LoadedModel

    @property
    def layout(self) -> InferenceLayout:
        """Return how many images are computed at once, on which the bits of features may depend."""
        return choose_layout(self.loaded.network, self.loaded.res, self.recipe.batch, self.machine)

    def extract(self, source: recipes.Data, part: str, split: data.Split, rows: np.ndarray | None = None) -> Tensor:
        """Return the features [N, D], the input of the head, of the images at ``rows``, or of all, of a data set."""
        network = self.loaded.network

        def compute_features(images: Tensor, labels: Tensor) -> tuple[Tensor]:
            return (network.features(images).float(),)

        files = self.open_files(source, part, split)
        compute = partial(self.compute, split, compute_features, ("features",))
        return files.extract(np.arange(len(split)) if rows is None else rows, compute)["features"]

    def extract_layers(
        self, source: recipes.Data, part: str, split: data.Split, layers: Sequence[int]
    ) -> dict[int, Tensor]:
        """Return the features [N, D] of each of ``layers`` of all images of the ``part`` of a data set.

        With ``linear.pooling=mean`` these are the mean over the patches' tokens, each normed as the next layer would
        norm it (ImageGPT, Chen et al. 2020, section 2.3; without the norm's own scale and shift, which standardizing
        undoes); with ``token`` they are the class token, normed.
        """
        network = cast(ViT | models.IGpt, self.loaded.network)  # other networks have no layers of tokens
        prefix, pooling = network.prefix, cast(recipes.Fewshot, self.recipe).linear.pooling

        def pool_layers(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
            tokens = models.hidden_states(network, images)
            normed = [models.normalize_tokens(network, tokens[layer]) for layer in layers]
            return tuple(x[:, prefix:].mean(1) if pooling == "mean" else x[:, 0] for x in normed)

        names = [f"layer{layer}" for layer in layers]
        files = self.open_files(source, part, split, layers)
        tensors = files.extract(np.arange(len(split)), partial(self.compute, split, pool_layers, names))
        return {layer: tensors[name] for layer, name in zip(layers, names)}

    def compute(
        self,
        split: data.Split,
        function: Callable[..., tuple[Tensor, ...]],
        names: Sequence[str],
        rows: np.ndarray,
        tick: Callable[[int], None],
    ) -> dict[str, Tensor]:
        """Return ``function`` of the images at ``rows``: tensors [N, ...] by the name of each output."""
        images = split if len(rows) == len(split) else split.select(rows)
        layout, view = self.layout, self.recipe.view
        batches = make_eval_batches(images, self.loaded.res, view, layout.batch, self.machine)
        network = self.loaded.network.to(self.machine.device)
        *outputs, _ = run_inference(network, batches, function, self.machine, tick, layout.images)
        return {name: torch.from_numpy(output) for name, output in zip(names, outputs)}

    def count_missing(
        self, source: recipes.Data, part: str, split: data.Split, rows: np.ndarray | None, layers: Sequence[int]
    ) -> int:
        """Return how many images of a split, or of its ``rows``, have no features in the cache."""
        rows = np.arange(len(split)) if rows is None else rows
        return self.open_files(source, part, split, layers).count_missing(rows)

    def open_files(
        self, source: recipes.Data, part: str, split: data.Split, layers: Sequence[int] = ()
    ) -> FeatureFiles:
        """Return the files of the features of a split's images: those of the head's input, or of ``layers``."""
        key = self.cache_key(source, part, split)
        if layers:
            key = (*key, cast(recipes.Fewshot, self.recipe).linear.pooling, tuple(layers))
        return FeatureFiles(self.run, key)

    def cache_key(self, source: recipes.Data, part: str, split: data.Split) -> tuple[object, ...]:
        """Return all that features depend on: weights, images, view, precision, processor, layout, and libraries.

        Two data sets may have the same keys and labels (a corrupted copy of one, another column of images): the options
        of their ``source`` tell them apart, and ``part`` the two of a data set.
        """
        fingerprint = weights_fingerprint(cast(str, self.recipe.init), self.recipe.runs)
        weights = (fingerprint, self.recipe.init_weights, self.loaded.commit)
        images = (part, split.fingerprint, *identify_images(source))
        view = (self.loaded.res, repr(self.recipe.view))
        layout = (self.layout.images, self.machine.worker_threads)
        compiled = (load_gelu() is not None, load_attention() is not None)
        computing = (str(self.machine.dtype), self.machine.processor, *layout, *compiled)
        return weights, images, view, computing, *(version(name) for name in LIBRARIES)


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
            with safe_open(file, "pt") as opened:
                tensors = check_content(opened)
            run.log(f"{folder} of {images} images read from {file}")
            return tensors
        except (SafetensorError, OSError, ValueError) as error:
            run.warn(f"{file} is damaged ({error}): computing it again")
    tensors = compute()
    if distributed.rank() == 0:
        write_hashed(file, tensors, run, NAME)
    return tensors
