"""Write the files of a CLIP's tokenizer, for ``AutoTokenizer.from_pretrained`` of transformers."""

import json
from pathlib import Path

from vitrun.models.tensor_files import JsonObject
from vitrun.models.tokens import BYTES, SPECIAL, load_clip_vocabulary
from vitrun.recipes import TextTower


def write_tokenizer(folder: Path, row: TextTower) -> None:
    """Write the tokenizer of a text tower; nothing if it is unknown.

    CLIP's becomes ``vocab.json`` and ``merges.txt``, as OpenAI's folders have them; bytes ``tokenizer.json``.
    Unlike OpenAI's code, transformers neither decodes HTML entities (``&amp;``) nor repairs wrong encodings. Raise
    a UserError if CLIP's vocabulary is not installed.
    """
    start, end = SPECIAL
    config: JsonObject = {"bos_token": start, "eos_token": end, "pad_token": end, "unk_token": end}
    config |= {"model_max_length": row.context, "padding_side": "right", "clean_up_tokenization_spaces": False}
    if row.tokens == "clip":
        vocabulary, merges = load_clip_vocabulary()
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
        config |= {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    elif row.tokens == "bytes":
        (folder / "tokenizer.json").write_text(json.dumps(describe_bytes(), ensure_ascii=False), encoding="utf-8")
        config |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    else:
        return
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def describe_bytes() -> JsonObject:
    """Return ``tokenizer.json`` for the bytes of a text in lower case with single spaces, between start and end."""
    special = [{"id": BYTES + place, "content": token, "special": True} for place, token in enumerate(SPECIAL)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in SPECIAL)
    text: JsonObject = {"Sequence": {"id": "A", "type_id": 0}}
    numbers = {token: {"id": token, "ids": [BYTES + place], "tokens": [token]} for place, token in enumerate(SPECIAL)}
    return {
        "version": "1.0",
        "added_tokens": [entry | flags for entry in special],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, text, end],
            "pair": [start, text, end],
            "special_tokens": numbers,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "model": {"type": "BPE", "vocab": name_bytes(), "merges": []},
    }


def name_bytes() -> dict[str, int]:
    """Return GPT-2's letter of each byte: the same for printable ones, letters from U+0100 on for others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTES) if byte not in printable]
    letters = {chr(byte): byte for byte in printable} | {chr(BYTES + n): byte for n, byte in enumerate(others)}
    return dict(sorted(letters.items(), key=lambda entry: entry[1]))
