"""Answers of a teacher for unlabelled images, computed once and stored in files beside the runs."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
from torch import Tensor

from vitrun import data, models, recipes
from vitrun.data.image_hashes import HASH_BYTES, HASHES
from vitrun.data.pseudo_labels import TOP
from vitrun.data.sampler import rank_range
from vitrun.data.transforms.views import CenterCropView
from vitrun.engine.inference import run_inference
from vitrun.engine.inference_batches import InferenceLayout, choose_layout
from vitrun.engine.inputs import make_eval_batches
from vitrun.probes.feature_cache import LIBRARIES, identify_images
from vitrun.probes.range_files import RangeFiles
from vitrun.runs.run import Run
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine

WHAT = "teacher answers"  # the folder beside the runs, and what the log calls them
BATCH = 128  # images that a rank reads together, whatever the batch of the student
BLANK_BATCHES = 2  # computed to measure the speed; the last is timed


@dataclass(frozen=True)
class Teacher:
    """A network with a head whose answers are the labels of unlabelled images."""

    loaded: models.LoadedModel
    fingerprint: str  # of its weights
    view: recipes.View  # of test images, as it is evaluated
    temperature: float
    run: Run
    machine: Machine

    @property
    def top(self) -> int:
        """Return how many of the likeliest classes are stored."""
        return min(TOP, self.loaded.classes)

    @property
    def class_type(self) -> torch.dtype:
        """Return the smallest type that numbers the classes."""
        return torch.int16 if self.loaded.classes <= torch.iinfo(torch.int16).max else torch.int32

    @property
    def bytes_an_image(self) -> int:
        """Return the bytes that the answers and hashes of an image take: 48 with 8 to 32,767 classes."""
        return self.top * (self.class_type.itemsize + torch.float16.itemsize) + HASH_BYTES * HASHES

    @property
    def layout(self) -> InferenceLayout:
        """Return how many images are computed at once."""
        batch = BATCH * distributed.world_size()
        return choose_layout(self.loaded.network, self.loaded.res, batch, self.machine)

    def open_files(self, source: recipes.Data, split: data.Split) -> RangeFiles:
        """Return the files of the answers to these images by these weights, view, temperature and way of computing."""
        images = (split.fingerprint, *identify_images(source))
        view = (self.loaded.res, repr(self.view), self.temperature)
        computing = (str(self.machine.dtype), self.machine.processor, self.layout.images)
        libraries = (version(name) for name in LIBRARIES)
        return RangeFiles(self.run, (self.fingerprint, self.loaded.commit, images, view, computing, *libraries), WHAT)

    def label(self, source: recipes.Data, split: data.Split) -> dict[str, data.MappedRows]:
        """Return ``classes`` and ``probabilities`` [N, K], the likeliest of each image, and its ``hashes`` [N, 2].

        K is 8, or the number of classes if that is less. An image that cannot be read has probabilities of 0.
        """
        files, size = self.open_files(source, split), self.bytes_an_image
        self.run.log(f"{WHAT}: {size} bytes per image, {size * len(split) / 1e6:,.3g} MB in {files.folder}")
        return files.load(len(split), partial(self.compute, split))

    def measure_speed(self) -> float:
        """Return how many images a second all ranks label, as measured with blank ones, which are not read."""
        size, res = self.layout.batch // distributed.world_size(), self.loaded.res
        blank = data.Batch(torch.zeros(size, 3, res, res), torch.zeros(size, dtype=torch.int64), np.arange(size))
        self.loaded.network.to(self.machine.device)
        for _ in range(BLANK_BATCHES):
            started = time.monotonic()
            run_inference(self.loaded.network, [blank], self.answer, self.machine, self.run.raise_if_interrupted)
        return self.layout.batch / max(time.monotonic() - started, 1e-6)

    def compute(self, split: data.Split, rows: np.ndarray, tick: Callable[[int], None]) -> dict[str, Tensor]:
        """Return the answers for the images at ``rows``, of which each rank computes a part."""
        network, layout = self.loaded.network.to(self.machine.device), self.layout
        first, end = rank_range(len(rows), distributed.rank(), distributed.world_size())
        part = split.select(rows)
        own = data.HashedSplit.wrap(part.select(np.arange(first, end)))
        if part.pixels is not None:
            batches = make_eval_batches(part, self.loaded.res, self.view, layout.batch, self.machine)
        else:
            view = CenterCropView(self.loaded.res, **asdict(self.view))
            size = -(-layout.batch // distributed.world_size())
            readable = data.readable_batches(own, view, size, lambda index, error: None)
            moved = (replace(batch, indices=batch.indices + first, keys=part.keys) for batch in readable)
            batches = data.prefetch(moved, self.machine.loader_threads)
        outputs = run_inference(network, batches, self.answer, self.machine, tick, layout.images)
        (hashes,) = distributed.all_gather_arrays([own.hashes])
        probabilities = np.zeros((len(rows), self.top), np.float16)
        classes = torch.zeros((len(rows), self.top), dtype=self.class_type)
        if outputs:  # some image could be read
            probabilities[outputs[2]], classes[outputs[2]] = outputs[0], torch.from_numpy(outputs[1])
        return {
            "probabilities": torch.from_numpy(probabilities),
            "classes": classes,
            "hashes": torch.from_numpy(hashes),
        }

    def answer(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities of the likeliest classes, and these classes: [B, 3, R, R] -> two of [B, K].

        They are a softmax for weights trained with loss=sigmoid too: the probability of each class if one is right.
        """
        logits = self.loaded.network(images).float() / self.temperature
        probabilities, classes = logits.softmax(1).topk(self.top)
        return probabilities.half(), classes.to(self.class_type)
