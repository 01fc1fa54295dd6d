"""Texts that a text tower cuts are counted exactly, and the first is named."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.networks import MODEL_ROWS
from vitrun import models
from vitrun.data import Split
from vitrun.engine import long_texts

NANO = models.build_tokenizer(replace(MODEL_ROWS["clip_nano"].text, context=10))
CAPTIONS = [("short", "123456789"), ("&amp;" * 8,), ("é" * 5, "a" * 8), ("é" * 4,), ("left out, as it is unusable",)]


def make_split() -> Split:
    """Return five images with captions, of which the last has none that can be used."""
    captions = CAPTIONS.__getitem__
    return Split([*"abcde"], np.full(5, -1), (), read_captions=captions, unusable={4: "has no caption."})


def test_captions_that_are_cut_are_counted_and_the_first_is_named():
    line = long_texts.describe_cut_captions(NANO, make_split(), "training")
    assert line == (
        "2 of 6 captions of the training part have more than 10 tokens and are cut, the first of 11: '123456789' of a"
    )
    longer = replace(NANO, context=13)
    assert long_texts.describe_cut_captions(longer, make_split(), "test") == ""
    assert long_texts.describe_cut_texts(NANO, [["a {}", "a photo of a cat"], ["é"]]).startswith("1 of 3 texts")


def test_of_many_images_a_part_is_counted_and_the_line_says_so(monkeypatch):
    monkeypatch.setattr(long_texts, "MOST_COUNTED", 3)
    line = long_texts.describe_cut_captions(NANO, make_split(), "test")
    assert line.startswith("2 of 4 captions of 3 of the 5 test images have")


@pytest.mark.parametrize("name", ["clip_nano", "clip_b32"])
def test_a_text_is_cut_exactly_if_it_has_more_tokens_than_the_context(name):
    if name == "clip_b32":
        pytest.importorskip("open_clip")
    letters, draws = [*"ab 3.,'&;İȺ\u0958\ufb01\t", "&lt;", "&nGt;", "\ufb2c"], np.random.default_rng(0)
    tokenizer = models.build_tokenizer(replace(MODEL_ROWS[name].text, context=12))
    for length in draws.integers(1, 24, 300):
        text = "".join(draws.choice(letters, length))
        assert tokenizer.is_cut(text) == (tokenizer.count(text) > 12), text
