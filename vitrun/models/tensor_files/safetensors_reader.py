"""Read ``.safetensors`` files."""

from pathlib import Path

from torch import Tensor

from vitrun.models.tensor_files.tensors import Weights, damaged_error


def read_safetensors(path: Path) -> Weights:
    """Return the tensors and the metadata of a ``.safetensors`` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise damaged_error(path, ".safetensors file", error) from None

    def get(name: str) -> Tensor:
        with safe_open(path, "pt") as file:  # opened again: an open memory map would keep the whole file in memory
            return file.get_tensor(name).clone()

    return Weights(path, shapes, get, metadata)
