"""Classification without training: a CLIP's image features beside those of texts about the classes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrun import models
from vitrun.data.sources.imagenet import name_by_synset, read_synsets
from vitrun.data.sources.messages import abbreviate
from vitrun.errors import ExitCode, UserError
from vitrun.recipes.prompts import Prompts
from vitrun.runtime.device import Machine

TEXT_BATCH = 256
IMAGENET_CLASSES = 1000


class ZeroShot(nn.Module):
    """Images [B, 3, R, R] -> logits [B, C]: cosines of their features and each row of ``classifier`` [C, E], scaled."""

    def __init__(self, network: models.Clip, classifier: Tensor):
        super().__init__()
        self.network = network
        self.register_buffer("classifier", classifier, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits: [B, 3, R, R] -> [B, C]."""
        features = self.network.encode_image(images, normalize=True)
        return self.network.logit_scale.exp() * features @ cast(Tensor, self.classifier).T


def write_texts(names: Sequence[Sequence[str]], templates: Sequence[str]) -> list[list[str]]:
    """Return the texts about each class: every template with every name of it."""
    return [[template.replace("{}", name) for template in templates for name in own] for own in names]


def build_classifier(
    network: models.Clip,
    texts: Sequence[Sequence[str]],
    machine: Machine,
    tick: Callable[[int], None] = lambda number: None,
) -> Tensor:
    """Return the classifier [C, E] of a network on ``machine``: of each class the mean of the features of its texts.

    Features have unit length before and after the mean, as in OpenAI's notebook and in open_clip. ``tick`` is called
    with the number of texts after each batch.
    """
    features = encode_texts(network, [text for own in texts for text in own], machine, tick)
    return average_by_class(features, [len(own) for own in texts])


def average_by_class(features: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the means of unit features [T, E], of unit length, of which each class has ``counts`` [C]: [C, E]."""
    rows = [part.mean(0) for part in features.split([*counts])]
    return functional.normalize(torch.stack(rows), dim=1)


@torch.inference_mode()
def encode_texts(
    network: models.Clip, texts: Sequence[str], machine: Machine, tick: Callable[[int], None] = lambda number: None
) -> Tensor:
    """Return the features of texts, of unit length: float32 [T, E] on the device of ``machine``."""
    tokenize = models.build_tokenizer(network.row.text)
    network.eval()
    features = []
    for first in range(0, len(texts), TEXT_BATCH):
        tokens = trim_tokens(tokenize(texts[first : first + TEXT_BATCH]))
        with machine.autocast():
            features.append(network.encode_text(tokens.to(machine.device), normalize=True).float())
        tick(len(tokens))
    return torch.cat(features)


def trim_tokens(tokens: Tensor) -> Tensor:
    """Return tokens [B, N] without the columns behind the last end token: a token attends to none behind it."""
    return tokens[:, : int(tokens.argmax(1).max()) + 1]


def name_classes(classes: Sequence[str], prompts: Prompts) -> tuple[list[tuple[str, ...]], str]:
    """Return the names in prompts of the classes of a data set, and how they were matched.

    ImageNet's are matched by synset; others by name if the names that both sides have are in another order, else by
    order. Raise UserError (exit code 3) if a class has no name.
    """
    if prompts.names is None:
        return [(tidy_name(name),) for name in classes], "its class names as they are"
    if isinstance(prompts.names, Mapping):
        return name_by_mapping(classes, prompts.names, prompts.origin), "by name"
    names, synsets = prompts.names, name_by_synset(tuple(classes))
    if len(names) == IMAGENET_CLASSES and {*synsets} <= (known := {*read_synsets()}):
        places = {synset: place for place, synset in enumerate(read_synsets())}
        assert known
        return [names[places[synset]] for synset in synsets], "by synset"
    own, theirs = [unify(name) for name in classes], [unify(name) for entry in names for name in entry[:1]]
    moved = [place for place, name in enumerate(own) if name in theirs and theirs.index(name) != place]
    if not moved and len(own) == len(theirs):
        return [*names], "by order" if own != theirs else "by name"
    if missing := [name for name, key in zip(classes, own) if key not in theirs]:
        raise missing_error(missing, prompts.origin)
    return [names[theirs.index(key)] for key in own], "by name"


def name_by_mapping(classes: Sequence[str], names: Mapping[str, tuple[str, ...]], origin: str) -> list[tuple[str, ...]]:
    """Return the names of classes that a mapping gives; raise UserError if it lacks one."""
    known = {unify(key): entry for key, entry in names.items()}
    if missing := [name for name in classes if unify(name) not in known]:
        raise missing_error(missing, origin)
    return [known[unify(name)] for name in classes]


def missing_error(missing: Sequence[str], origin: str) -> UserError:
    """Return the error about classes without a name in prompts."""
    return UserError(
        f"{origin} has no name for {len(missing):,} of the classes, such as {abbreviate(missing, 3)}: add a file with "
        "names for all, prompts=FILE, or a template alone, as in prompts='a photo of a {}.'.",
        ExitCode.DATA,
        "prompts",
    )


def unify(name: str) -> str:
    """Return a name that is equal for ``aquarium_fish``, ``Aquarium fish`` and ``aquarium-fish``."""
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def tidy_name(name: str) -> str:
    """Return the name of a class as a text has it: ``tabby cat`` for ``tabby_cat``."""
    return name.replace("_", " ").strip()


def describe_texts(names: Sequence[Sequence[str]], prompts: Prompts, how: str) -> str:
    """Return the line of the log about the texts of a classifier."""
    first = names[0][0] if names else ""
    templates = f"{len(prompts.templates)} templates, such as" if len(prompts.templates) > 1 else "the template"
    example = prompts.templates[0].replace("{}", first)
    return f"{prompts.origin}, {how}; {len(names):,} classes in {templates} {example!r}"


def mean_per_class(labels: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean over classes of the share of their images that are ``correct`` [N], by ``labels`` [N]."""
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=correct.astype(float))
    return float((hits[counts > 0] / counts[counts > 0]).mean())
