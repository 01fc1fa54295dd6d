"""A CLIP that is exported for transformers is used there offline, from its texts and images to its logits."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.networks import MODEL_ROWS
from helpers.paths import SHARED
from vitrun import models
from vitrun.errors import UserError
from vitrun.models import tokens
from vitrun.models.export import Target, clip_tokenizer, export_model

TEXTS = ["A  red Star", "two rings in the upper-left, it's 3 o'clock", "Ein Café — größer", "x" * 100]


def test_transformers_processor_and_model_give_the_same_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    row = MODEL_ROWS["clip_nano"]
    torch.manual_seed(0)
    network = models.build(row, 0, 32).eval()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    export_model(network, 32, "hf", Target(tmp_path / "hf"), "card")
    processor = transformers.CLIPProcessor.from_pretrained(tmp_path / "hf", local_files_only=True)
    theirs = transformers.CLIPModel.from_pretrained(tmp_path / "hf", local_files_only=True).eval()
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    batch = processor(text=TEXTS, images=Image.fromarray(levels), padding=True, truncation=True, return_tensors="pt")
    images = torch.from_numpy(levels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        of_images, of_texts, scale = network(images, models.build_tokenizer(row.text)(TEXTS))
        logits = theirs(**batch).logits_per_image
    torch.testing.assert_close(scale * of_images @ of_texts.T, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.shared
def test_clips_tokens_are_the_same_with_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    clip_tokenizer.write_tokenizer(tmp_path, MODEL_ROWS["clip_b32"].text)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    rows = json.loads((SHARED / "golden/family/bpe.json").read_text("utf-8"))["rows"]
    alike = [row for row in rows if "transformers" not in row]  # which has its own cleaning of texts
    for row in alike:
        own = [*np.trim_zeros(row["ids"], "b")]
        assert theirs(row["text"], truncation=True)["input_ids"] == own, row["text"]
    assert len(alike) > 30


def test_a_vocabulary_that_is_not_installed_is_one_error_and_an_unknown_one_is_left_out(tmp_path, monkeypatch):
    text = MODEL_ROWS["clip_b32"].text
    clip_tokenizer.write_tokenizer(tmp_path, replace(text, tokens="unknown", vocabulary=600))
    assert not [*tmp_path.iterdir()]
    monkeypatch.setitem(sys.modules, "open_clip.tokenizer", None)
    tokens.load_clip_encoder.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'vitrun\[clip\]'"):
        clip_tokenizer.write_tokenizer(tmp_path, text)
