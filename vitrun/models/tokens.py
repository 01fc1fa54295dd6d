"""Tokenizers: texts to the tokens that a text tower reads, [B, context]."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vitrun.errors import UserError
from vitrun.recipes import TextTower

Encode = Callable[[str], list[int]]
SPECIAL = ("<|startoftext|>", "<|endoftext|>")  # in OpenAI's code; open_clip has other spellings of both
BYTES = 256


@dataclass(frozen=True)
class Tokenizer:
    """Tokenizer of a text tower: texts -> int64 [B, context], each a start token, the text, an end token, then zeros.

    A text that is too long is cut, and its last token is the end token, as open_clip does. ``vocabulary`` is the number
    of tokens, of which the last two are the start and the end token.
    """

    encode: Encode  # a text without start and end
    vocabulary: int
    context: int

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of each text, [B, context]."""
        tokens = torch.zeros(len(texts), self.context, dtype=torch.long)
        for row, text in zip(tokens, texts):
            ids = [self.vocabulary - 2, *self.encode(text)[: self.context - 2], self.vocabulary - 1]
            row[: len(ids)] = torch.tensor(ids)
        return tokens

    def is_cut(self, text: str) -> bool:
        """Return whether a text has more tokens than the context."""
        # A token has at least one byte, and cleaning adds none to a text in ASCII: a short one need not be encoded
        is_short = text.isascii() and "&" not in text and len(text) <= self.context - 2
        return not is_short and self.count(text) > self.context

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, the start and the end token included; it may exceed the context."""
        return 2 + len(self.encode(text))


def build_tokenizer(row: TextTower) -> Tokenizer:
    """Return the tokenizer of a text tower. Raise a UserError if it is unknown, or not installed."""
    if row.tokens == "unknown":
        raise UserError(
            f"the tokenizer of these weights is not known: they have {row.vocabulary:,} tokens, and CLIP's BPE has "
            "49,408. fewshot, finetune and visualize take their image tower.",
            option="model.text.tokens",
        )
    return Tokenizer(ENCODERS[row.tokens](), row.vocabulary, row.context)


@cache
def load_clip_encoder() -> Encode:
    """Return CLIP's byte-pair encoding, of open_clip. Raise a UserError if it is not installed."""
    try:
        import regex
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        why = f"CLIP's tokenizer needs {error.name or 'open_clip'}: pip install 'vitrun[clip]'."
        raise UserError(why, option="model.text.tokens", value="clip") from None
    tokenizer = SimpleTokenizer()
    # open_clip spells the special tokens otherwise than OpenAI, whose spelling the published models were trained with
    for name, token in zip(SPECIAL, tokenizer.all_special_ids):
        tokenizer.encoder[name] = token
    tokenizer.cache = {name: name for name in SPECIAL}
    pieces = tokenizer.pat.pattern.partition("|'s")
    special = "|".join(regex.escape(name) for name in SPECIAL)
    tokenizer.pat = regex.compile(special + pieces[1] + pieces[2], regex.IGNORECASE)
    return tokenizer.encode


def load_clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Return the tokens of CLIP's byte-pair encoding with their numbers, and its merges in order, such as ``lo w</w>``.

    Raise a UserError if open_clip is not installed.
    """
    load_clip_encoder()  # raises that error
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    numbers = sorted(tokenizer.encoder.values())
    tokens = {number: token for token, number in tokenizer.encoder.items()}
    tokens |= dict(zip(numbers[-len(SPECIAL) :], SPECIAL))
    return {tokens[number]: number for number in numbers}, [" ".join(pair) for pair in tokenizer.bpe_ranks]


def load_byte_encoder() -> Encode:
    """Return the encoding of a text as the bytes of its UTF-8, in lower case and with single spaces."""
    return lambda text: list(" ".join(html.unescape(text).split()).lower().encode())


ENCODERS: dict[str, Callable[[], Encode]] = {"clip": load_clip_encoder, "bytes": load_byte_encoder}
