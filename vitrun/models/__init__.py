"""The networks of the paper and of its comparisons, built and loaded exactly as published.

Images are [B, 3, R, R] in [-1, 1]. A network maps them to logits [B, C]; ``network.features(images)`` [B, D] is the
input of its ``head``.
"""

from vitrun.models.assemble import LoadedModel, NoHead
from vitrun.models.assemble_clip import take_image_tower
from vitrun.models.attention import fused_attention
from vitrun.models.attention_maps import (
    AttentionLayout,
    NoGlobalAttention,
    find_layout,
    hidden_states,
    normalize_tokens,
    visit_attention,
)
from vitrun.models.build import build, check_model, select_image_row, token_stride
from vitrun.models.checkpoint_file import describe_weights, restore_weights, save_model
from vitrun.models.checkpointing import checkpoint_blocks, list_blocks
from vitrun.models.clip import Clip
from vitrun.models.cost import count_macs, count_parameters, count_tokens
from vitrun.models.detector import Detections, Detector
from vitrun.models.detector_body import make_detector
from vitrun.models.embeddings import NoEmbedding, grid_positions, patch_filters
from vitrun.models.hub import check_tag as check_tag
from vitrun.models.igpt import IGpt, build_pixel_predictor
from vitrun.models.layers import name_heads, number_layers
from vitrun.models.load import load, with_noise
from vitrun.models.load_report import LoadReport
from vitrun.models.masked import MASKED, UNCHANGED, build_masked
from vitrun.models.network import Network
from vitrun.models.tensor_files import Weights, read_weights, write_safetensors
from vitrun.models.tokens import Tokenizer, build_tokenizer

__all__ = [
    "UNCHANGED",
    "MASKED",
    "AttentionLayout",
    "Clip",
    "Detections",
    "Detector",
    "NoEmbedding",
    "NoGlobalAttention",
    "NoHead",
    "LoadedModel",
    "LoadReport",
    "IGpt",
    "Network",
    "Tokenizer",
    "Weights",
    "build",
    "build_pixel_predictor",
    "build_tokenizer",
    "find_layout",
    "fused_attention",
    "grid_positions",
    "patch_filters",
    "visit_attention",
    "build_masked",
    "checkpoint_blocks",
    "list_blocks",
    "check_model",
    "check_tag",
    "restore_weights",
    "hidden_states",
    "load",
    "make_detector",
    "name_heads",
    "normalize_tokens",
    "number_layers",
    "count_macs",
    "count_parameters",
    "read_weights",
    "save_model",
    "select_image_row",
    "take_image_tower",
    "describe_weights",
    "token_stride",
    "count_tokens",
    "with_noise",
    "write_safetensors",
]
