"""Read tensors from files, each when it is needed, and never run code from a file."""

from vitrun.models.tensor_files.read import read_weights
from vitrun.models.tensor_files.safetensors_writer import write_safetensors
from vitrun.models.tensor_files.tensors import JsonObject, Shapes, Weights, format_keys, weights_error

__all__ = ["JsonObject", "Shapes", "Weights", "format_keys", "read_weights", "weights_error", "write_safetensors"]
