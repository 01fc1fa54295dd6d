"""What is counted from predictions: accuracy by class, confusions, calibration, the surest mistakes. Pure numpy."""

from dataclasses import dataclass

import numpy as np

from vitrun.runs.predictions import PredictionTable

BINS = 15  # of Guo et al., arXiv 1706.04599


@dataclass(frozen=True)
class Calibration:
    """How often answers of a given confidence are correct, in M bins of the same width over confidence 0 to 1."""

    counts: np.ndarray  # [M] images
    accuracy: np.ndarray  # [M] share of them that is correct; NaN in an empty bin
    confidence: np.ndarray  # [M] their mean confidence; NaN in an empty bin

    @property
    def ece(self) -> float:
        """Return the expected calibration error: the mean of |accuracy - confidence| over all images, by bin."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(gaps @ self.counts[filled] / self.counts.sum())


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another."""

    label: int
    prediction: int
    images: int
    share: float  # of the images of the label


@dataclass(frozen=True)
class Mistake:
    """Image with a wrong answer."""

    key: str
    label: int
    prediction: int
    confidence: float  # the probability of the prediction
    loss: float


def calibrate(confidence: np.ndarray, is_correct: np.ndarray, bins: int = BINS) -> Calibration:
    """Return the calibration of answers with a ``confidence`` [N] in 0 to 1, the probability of the predicted class.

    As Guo et al. (On calibration of modern neural networks, arXiv 1706.04599, equations 2 and 3): bin m of M holds the
    confidences in ((m - 1) / M, m / M], 0 belongs to the first. torchmetrics puts a confidence on an edge, and so a
    certain answer, into the bin above.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(places, np.asarray(is_correct, dtype=np.float64), bins) / counts
        mean = np.bincount(places, confidence, bins) / counts
    return Calibration(counts, accuracy, mean)


def calibrate_table(table: PredictionTable) -> Calibration:
    """Return the calibration of a table's images that have a correct label."""
    counted = (table.correct_labels >= 0).any(1)
    return calibrate(table.probabilities[counted, 0], table.is_correct[counted])


def count_by_class(table: PredictionTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of each class, and how many of them are answered correctly: [C], [C]; of single labels."""
    classes = len(table.classes)
    return np.bincount(table.labels, minlength=classes), np.bincount(table.labels[table.is_correct], minlength=classes)


def count_confusions(table: PredictionTable) -> np.ndarray:
    """Return the confusion matrix [C, C] of single labels: images of each label (row) by their prediction (column)."""
    classes = len(table.classes)
    pairs = table.labels * classes + table.top_classes[:, 0]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def list_confusions(table: PredictionTable, limit: int = 20) -> list[Confusion]:
    """Return the pairs of classes that are most often confused, by their images, then by their order."""
    classes = len(table.classes)
    wrong = ~table.is_correct
    pairs, counts = np.unique(table.labels[wrong] * classes + table.top_classes[wrong, 0], return_counts=True)
    images = np.bincount(table.labels, minlength=classes)
    most = np.lexsort((pairs, -counts))[:limit]
    return [
        Confusion(pair // classes, pair % classes, count, count / int(images[pair // classes]))
        for pair, count in zip(pairs[most].tolist(), counts[most].tolist())
    ]


def list_surest_mistakes(table: PredictionTable, limit: int = 20) -> list[Mistake]:
    """Return the wrong answers of single labels with the highest probability, the highest loss first among equals.

    Of an image that several draws predict it is the surest one.
    """
    wrong = np.flatnonzero(~table.is_correct)
    ranked = wrong[np.lexsort((wrong, -table.losses[wrong], -table.probabilities[wrong, 0]))]
    if table.draws is not None:
        _, firsts = np.unique([table.keys[row] for row in ranked.tolist()], return_index=True)
        ranked = ranked[np.sort(firsts)]
    most = ranked[:limit]
    columns = (table.labels, table.top_classes[:, 0], table.probabilities[:, 0], table.losses)
    return [
        Mistake(table.keys[row], *values)
        for row, *values in zip(most.tolist(), *(column[most].tolist() for column in columns))
    ]
