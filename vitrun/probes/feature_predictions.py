"""Predictions of probes for the features of a split's images, as a run saves them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun.data import Split
from vitrun.engine.inference import Predictions, softmax
from vitrun.probes.ridge import Classifier, DrawResult, Features
from vitrun.runs.predictions import PredictionTable

TOP = 5  # likeliest classes that are saved


@torch.inference_mode()
def classify_features(head: nn.Linear, x: Tensor, y: Tensor) -> Predictions:
    """Return the predictions of a head for the features [N, D] and labels [N] of a split's images, in its order."""
    logits = head(x).float()
    losses = functional.cross_entropy(logits, y, reduction="none")
    top_classes = logits.topk(min(TOP, logits.shape[1])).indices
    return make_predictions(y, top_classes, losses, softmax(logits).gather(1, top_classes))


@torch.inference_mode()
def classify_by_scores(classifier: Classifier, x: Tensor, y: Tensor) -> Predictions:
    """Return the predictions of a ridge classifier, as :func:`classify_features`.

    Its scores estimate 2 p - 1, as those of any least-squares fit to -1 and 1, so that (score + 1) / 2 in 0 to 1 is the
    probability of a class by itself. The loss is the squared error of the scores, summed over the classes.
    """
    scores = classifier.score(x)
    targets = functional.one_hot(y, scores.shape[1]) * 2 - 1
    losses = (scores - targets).square().sum(1)
    top_scores, top_classes = scores.topk(min(TOP, scores.shape[1]))
    return make_predictions(y, top_classes, losses, ((top_scores + 1) / 2).clamp(0, 1))


def make_predictions(y: Tensor, top_classes: Tensor, losses: Tensor, probabilities: Tensor) -> Predictions:
    """Return predictions of all images of a split, in its order."""
    labels, *columns = (tensor.cpu().numpy() for tensor in (y, top_classes, losses, probabilities))
    return Predictions(labels, np.arange(len(labels)), *columns)


def tabulate_draws(
    results: Sequence[DrawResult], test: Features, split: Split, classes: Sequence[str]
) -> PredictionTable:
    """Return the predictions of the draws with most images a class, for every image of ``split`` once a draw."""
    fitted = [(result.seed, result.classifier) for result in results if result.classifier is not None]
    predictions = [classify_by_scores(classifier, test.x, test.y) for _, classifier in fitted]
    tables = [one.to_table(split, classes) for one in predictions]
    return PredictionTable(
        keys=[key for table in tables for key in table.keys],
        labels=np.concatenate([table.labels for table in tables]),
        top_classes=np.concatenate([table.top_classes for table in tables]),
        probabilities=np.concatenate([table.probabilities for table in tables]),
        losses=np.concatenate([table.losses for table in tables]),
        classes=tuple(classes),
        draws=np.repeat([seed for seed, _ in fitted], len(split)) if len(fitted) > 1 else None,
    )
