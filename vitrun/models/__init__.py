"""Every network of the paper and of its comparisons, built and loaded exactly as published.

Images are [B, 3, R, R] in [-1, 1]. A network maps them to logits [B, C], and its ``features`` [B, D] are what its
``head`` reads.
"""

from vitrun.models.assemble import Loaded
from vitrun.models.build import build, check, stride
from vitrun.models.counts import macs, parameters, tokens
from vitrun.models.files import fill, save
from vitrun.models.load import load, with_dropout
from vitrun.models.look import attention_and_tokens, layered
from vitrun.models.masked import KEPT, MASKED, build_masked
from vitrun.models.published import published
from vitrun.models.report import Report
from vitrun.models.table import main
from vitrun.models.tags import check as check_tag
from vitrun.models.weights import Weights, read

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
    "main",
    "parameters",
    "published",
    "read",
    "save",
    "stride",
    "tokens",
    "with_dropout",
]
