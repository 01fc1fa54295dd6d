"""Every network of the paper and of its comparisons, built and loaded exactly as published.

Images are [B, 3, R, R] in [-1, 1]. A network maps them to logits [B, C], and its ``features`` [B, D] are what its
``head`` reads.
"""

from vitrun.models.assemble import Loaded
from vitrun.models.attention_maps import attention_and_tokens, layered
from vitrun.models.build import build, check, stride
from vitrun.models.checkpoint_file import fill, save
from vitrun.models.cost import macs, parameters, tokens
from vitrun.models.hub import check as check_tag
from vitrun.models.load import load, with_dropout
from vitrun.models.load_report import Report
from vitrun.models.masked import KEPT, MASKED, build_masked
from vitrun.models.published_weights import published
from vitrun.models.tensor_files import Weights, read

__all__ = [
    "KEPT",
    "MASKED",
    "Loaded",
    "Report",
    "Weights",
    "attention_and_tokens",
    "build",
    "build_masked",
    "check",
    "check_tag",
    "fill",
    "layered",
    "load",
    "macs",
    "parameters",
    "published",
    "read",
    "save",
    "stride",
    "tokens",
    "with_dropout",
]
