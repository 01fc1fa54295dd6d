"""Tokens are those of OpenAI's code, and cut as open_clip cuts them."""

import json
import sys
from dataclasses import replace

import pytest

from helpers.networks import MODEL_ROWS
from helpers.paths import SHARED
from vitrun import models
from vitrun.errors import UserError
from vitrun.models import tokens

NANO = MODEL_ROWS["clip_nano"].text


@pytest.mark.shared
def test_the_tokens_of_every_sentence_equal_openais():
    pytest.importorskip("open_clip")
    rows = json.loads((SHARED / "golden/family/bpe.json").read_text("utf-8"))["rows"]
    tokenizer = models.build_tokenizer(MODEL_ROWS["clip_b32"].text)
    assert tokenizer([row["text"] for row in rows]).tolist() == [row["ids"] for row in rows]


def test_bytes_need_nothing_and_end_with_the_end_token_however_long_the_text_is():
    tokenizer = models.build_tokenizer(replace(NANO, context=6))
    assert tokenizer(["A  b", "é", "a long text"]).tolist() == [
        [256, 97, 32, 98, 257, 0],
        [256, 195, 169, 257, 0, 0],
        [256, 97, 32, 108, 111, 257],
    ]
    assert tokenizer.count("a long text") == 13


def test_a_tokenizer_that_is_not_installed_or_not_known_is_one_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip.tokenizer", None)
    tokens.load_clip_encoder.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'vitrun\[clip\]'"):
        models.build_tokenizer(MODEL_ROWS["clip_b32"].text)
    with pytest.raises(UserError, match="not known"):
        models.build_tokenizer(replace(NANO, tokens="unknown", vocabulary=600))
