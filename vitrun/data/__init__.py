"""Data: sources of images, splits, batches and transforms."""

from vitrun.data.bad_images import (
    BadImageBudget,
    check_before_training,
    drop_bad_images,
    find_bad_images,
    raise_bad_image,
)
from vitrun.data.batch import Batch
from vitrun.data.boxes import Boxes, BoxTable, pad_boxes
from vitrun.data.captions import caption_by_class
from vitrun.data.class_names import describe_missing_classes, find_classes, is_unnamed, relabel
from vitrun.data.dataset import make_placeholder_split, open_split, open_unlabelled
from vitrun.data.decode import describe_decoders
from vitrun.data.draw_pool import DrawPool, find_draw_pool
from vitrun.data.held_out import hold_out
from vitrun.data.image_files import list_image_files, open_image_files
from vitrun.data.image_hashes import HashedSplit, find_known, hash_images
from vitrun.data.loader import readable_batches, test_batches, train_batches
from vitrun.data.mapped_rows import MappedRows
from vitrun.data.prefetching import prefetch
from vitrun.data.pseudo_labels import PseudoLabels, join_batches, select_images
from vitrun.data.rectangle_batches import rectangle_batches
from vitrun.data.sources.imagenet import CLASSES as IMAGENET_CLASSES
from vitrun.data.sources.messages import escape_name
from vitrun.data.split import Split, balance_classes

__all__ = [
    "IMAGENET_CLASSES",
    "BadImageBudget",
    "Batch",
    "BoxTable",
    "Boxes",
    "DrawPool",
    "HashedSplit",
    "MappedRows",
    "PseudoLabels",
    "Split",
    "balance_classes",
    "caption_by_class",
    "check_before_training",
    "describe_decoders",
    "describe_missing_classes",
    "escape_name",
    "drop_bad_images",
    "find_bad_images",
    "find_classes",
    "find_draw_pool",
    "find_known",
    "hash_images",
    "hold_out",
    "is_unnamed",
    "join_batches",
    "list_image_files",
    "make_placeholder_split",
    "open_image_files",
    "open_split",
    "open_unlabelled",
    "pad_boxes",
    "prefetch",
    "raise_bad_image",
    "readable_batches",
    "rectangle_batches",
    "relabel",
    "select_images",
    "test_batches",
    "train_batches",
]
