"""Tell which caption belongs to which image: CLIP (arXiv 2103.00020, section 2.3) and SigLIP (arXiv 2303.15343)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun import models
from vitrun.data import Batch, Split
from vitrun.engine.inference import run_inference
from vitrun.engine.retrieval import count_recalls
from vitrun.engine.zero_shot import trim_tokens
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import Clip, Contrastive, Model, Pretrain
from vitrun.runs.metrics import Metric, Result
from vitrun.runtime.device import Machine


@dataclass(frozen=True)
class ContrastiveObjective:
    """Tell an image's caption from those of the other images of a step, of all ranks, and the other way round."""

    loss_name: str  # of LOSSES
    tokenizer: models.Tokenizer
    batch: int  # pairs of a step, over all ranks

    joint = True  # the loss needs the features of all images of a step at once

    @classmethod
    def from_recipe(cls, recipe: Pretrain) -> "ContrastiveObjective":
        """Return the objective of a recipe. Raise a UserError if the tokenizer is not installed."""
        options, model = cast(Contrastive, recipe.objective), cast(Clip, recipe.model)  # as the recipe has checked
        return cls(options.loss, models.build_tokenizer(model.text), recipe.batch)

    def check_data(self, *splits: Split) -> None:
        """Raise UserError if images have neither captions nor labels."""
        if any(split.read_captions is None for split in splits):
            why = "needs images with captions or classes: choose data=shapes, data=captions or data=pairs."
            raise UserError(why, ExitCode.DATA, "objective", "contrastive")

    def build_model(self, model: Model, train: Split, res: int) -> models.LoadedModel:
        """Return an untrained CLIP, with a bias of the logits for the sigmoid loss."""
        row = replace(cast(Clip, model), logit_bias=self.loss_name == "sigmoid")
        return models.LoadedModel(models.build(row, 0, res), row, 0, res, None)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch with the tokens of a caption of each image, and each pair's place among all of the step."""
        captions = [own[0] for own in batch.captions] or [""] * len(batch.indices)
        places = batch.offset + torch.arange(len(captions))
        return replace(batch, labels=places, inputs=(trim_tokens(self.tokenizer(captions)),))

    def loss(self, outputs: Sequence[Tensor], places: Tensor) -> Tensor:
        """Return the loss of each pair at ``places`` [B], by the outputs of the network for all pairs of the step."""
        return LOSSES[self.loss_name](outputs, places)

    def evaluate(
        self, network: nn.Module, batches: Iterable[Batch], machine: Machine, tick: Callable[[int], None]
    ) -> Result:
        """Return loss and recall of the test pairs, with the first caption of each.

        The loss is that of batches of the size of training; captions and images are sought among all.
        """
        clip = cast(models.Clip, network)

        def encode(images: Tensor, tokens: Tensor, _: Tensor) -> tuple[Tensor, ...]:
            return clip(images, tokens)[:2]

        prepared = (self.prepare(batch, 0) for batch in batches)
        images, texts, indices = run_inference(network, prepared, encode, machine, tick)
        shared = [value.detach().cpu() for value in clip.logit_parameters()]
        losses = [
            self.loss([torch.from_numpy(images[rows]), torch.from_numpy(texts[rows]), *shared], torch.arange(len(rows)))
            for rows in np.split(np.arange(len(images)), range(self.batch, len(images), self.batch))
        ]
        pairs = torch.from_numpy(images), torch.from_numpy(texts), torch.arange(len(images))
        loss = Metric(float(torch.cat(losses).double().mean()), lower_is_better=True)
        return {**count_recalls(*pairs), "loss": loss, "test_images": len(indices)}


def softmax_loss(outputs: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return the loss of each pair at ``places``: the mean of the cross-entropies of its image and its text, [B].

    ``outputs`` are the features [N, E] of images and texts, of unit length, and the scale of their products.
    """
    images, texts, scale = outputs
    of_images = functional.cross_entropy(scale * images[places] @ texts.T, places, reduction="none")
    of_texts = functional.cross_entropy(scale * texts[places] @ images.T, places, reduction="none")
    return (of_images + of_texts) / 2


def sigmoid_loss(outputs: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return the loss of each image at ``places``: the sum over texts of the binary cross-entropy of a match, [B].

    ``outputs`` are the features [N, E] of images and texts, of unit length, the scale of their products and a bias.
    """
    images, texts, scale, bias = outputs
    logits = scale * images[places] @ texts.T + bias
    matches = functional.one_hot(places, len(texts))
    return -functional.logsigmoid((2 * matches - 1) * logits).sum(1)


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
