"""Load torchvision's own vision transformers, the "official" ones of PyTorch: ``init=torchvision:NAME.WEIGHTS``."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.models.assemble import LoadedModel, assemble_network
from vitrun.models.formats import recognise
from vitrun.models.tensor_files import read_weights
from vitrun.runtime.files import sha256_file

HASH_IN_URL = re.compile(r"-([0-9a-f]{8,})\.pth$")  # the first digits of the file's SHA-256, as torch.hub checks them


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that torchvision publishes."""

    name: str  # as in vit_b_16.IMAGENET1K_V1
    url: str
    normalization: tuple[list[float], list[float]]  # mean and std of training images
    resized: int  # pixels of a test image's shorter side
    res: int  # pixels of its centre crop
    interpolation: str


def load_published(name: str, classes: int | None, res: int | None) -> LoadedModel:
    """Return vitrun's own network with the weights of ``torchvision:NAME.WEIGHTS``."""
    weights = find_published_weights(name)
    source = recognise(read_weights(download(weights)))
    return assemble_network(replace(source, normalization=weights.normalization, notes=[]), classes, res)


def find_published_weights(name: str) -> PublishedWeights:
    """Return the weights called ``NAME.WEIGHTS``, or those that torchvision takes for ``NAME`` alone.

    Raise a UserError that lists those there are.
    """
    from torchvision import models

    model, _, wanted = name.partition(".")
    known = models.list_models(include="vit_*")
    if model not in known:
        raise UserError(f"torchvision:{name} is not a vision transformer. {suggest(model, known)}", ExitCode.CHECKPOINT)
    choices = models.get_model_weights(model)
    wanted = choices.DEFAULT.name if wanted in ("", "DEFAULT") else wanted
    if wanted not in choices.__members__:
        tags = ", ".join(f"{model}.{choice.name}" for choice in choices)
        raise UserError(f"torchvision:{name} names no weights. There are {tags}.", ExitCode.CHECKPOINT)
    view = choices[wanted].transforms()
    sizes, interpolation = (view.resize_size[0], view.crop_size[0]), view.interpolation.value
    return PublishedWeights(f"{model}.{wanted}", choices[wanted].url, (view.mean, view.std), *sizes, interpolation)


def download(weights: PublishedWeights) -> Path:
    """Return the file on this machine, in torch's cache; download it if it is not there, and check its hash."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / weights.url.rpartition("/")[2]
    published = HASH_IN_URL.search(path.name)
    digits = published[1] if published else ""
    if not (path.is_file() and sha256_file(path).startswith(digits)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), digits, progress=False)
        except Exception as error:  # the network, the disk and a wrong hash each raise classes of their own
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            why = f"could not be fetched: {reason}. Fetch {weights.url} by other means, and give init=FILE."
            raise UserError(f"torchvision:{weights.name} {why}", ExitCode.CHECKPOINT) from None
    return path
