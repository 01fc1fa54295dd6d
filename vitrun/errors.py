"""Errors that end a command with a sentence instead of a traceback, their exit codes, and suggestions."""

import errno
import os
import re
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher, get_close_matches
from enum import IntEnum
from typing import TypeVar

T = TypeVar("T")
MAX_PATH = 200  # characters of a path in an error
MAX_SENTENCE = 400  # characters of an error with very long words
MAX_ERROR = 1000  # characters of any error
MAX_CHOICES = 280  # characters of the list of choices
SYNONYMS = {  # names of options in timm, transformers and other programs -> those here
    "learning_rate": "lr",
    "base_lr": "lr",
    "batch_size": "batch",
    "img_size": "res",
    "image_size": "res",
    "num_epochs": "epochs",
    "warmup_steps": "warmup",
    "drop_path": "stochastic_depth",
    "drop_path_rate": "stochastic_depth",
    "label_smoothing": "smoothing",
    "clip_grad": "clip",
    "reprob": "erasing",
    "crop_pct": "view.crop",
    "ema_decay": "ema",
    "model_ema_decay": "ema",
    "eval_steps": "eval.every",
    "eval_interval": "eval.every",
    "early_stopping": "eval.patience",
    "early_stopping_patience": "eval.patience",
    "load_best_model_at_end": "keep",
    "save_best": "keep",
}
MAX_NAMES = 20  # a longer list of choices is shortened

FULL = (errno.ENOSPC, errno.EDQUOT)  # no room, or none that is left to this user
# Messages of torch, C++, the kernel, Python's threads and CUDA's libraries, which have no class of their own for it
OUT_OF_MEMORY = re.compile(
    "can't allocate memory|bad_alloc|[Cc]annot allocate memory|[Oo]ut of memory|failed to map segment|"
    "can't start new thread|STATUS_ALLOC_FAILED"
)
# What was asked for, as torch and NumPy write it: "Tried to allocate 2.00 GiB", "you tried to allocate 4096 bytes"
ALLOCATION = re.compile(r"(?:[Tt]ried to|[Uu]nable to|malloc of size) (?:allocate )?([\d.]+)( ?[KMGT]iB|)")


class ExitCode(IntEnum):
    """Exit codes of the process."""

    COMMAND = 2
    DATA = 3
    CHECKPOINT = 4
    NUMERICS = 5
    SPACE = 6
    DEVICE = 7
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """Error that the user can correct: what is wrong, why, and the way out.

    Args:
        message: The sentences to print. Where ``value`` is given, ``option=value: `` is printed before them.
        status: The exit code of the process: one of ``ExitCode``, or that of a process that failed.
        option: The option at fault, as in ``data.path``.
        value: The value of that option, as typed.
    """

    reported_by: Sequence[int] | None = None  # the ranks that print it; None until all ranks know it

    def __init__(
        self, message: str, status: int = ExitCode.COMMAND, option: str | None = None, value: str | None = None
    ):
        super().__init__(message)
        self.message = message
        self.status = status
        self.option = option
        self.value = value

    def __str__(self) -> str:
        return self.message if self.value is None else f"{self.option}={self.value}: {self.message}"


class OutOfMemory(UserError):
    """Memory that did not suffice for a step of training, whose state is that of the step before."""

    def __init__(self, message: str):
        super().__init__(message, ExitCode.SPACE)


class Interrupted(BaseException):
    """Raised when a signal asks to stop, anywhere in the main thread; ``except Exception`` lets it pass."""

    reported_by: Sequence[int] | None = None

    def __init__(self, status: int):
        super().__init__(status)  # so that it can be pickled, from rank to rank
        self.status = status


def describe_os_error(error: OSError) -> UserError | None:
    """Return the error for a file or folder that the operating system refuses; None if it names no file."""
    if error.filename is None or error.strerror is None:
        return None
    full = error.errno in (*FULL, errno.EROFS)
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else str(error.filename)
    room = "Make room" if error.errno in FULL else "It is read-only: make it writable"
    advice = f"{room}, or use another folder" if full else "Check that it is the right one, and its permissions"
    return UserError(f"{shorten(repr(name))}: {error.strerror}. {advice}.", ExitCode.SPACE if full else ExitCode.DATA)


def advise_writing(error: Exception) -> str:
    """Return what to do about a file that cannot be written, as ``Make room``."""
    os_error = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors writes it
    number = error.errno if isinstance(error, OSError) else int(os_error[1]) if os_error else None
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Make that folder writable"
    if isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):  # one in place of the other
        return f"Move {error.filename2 or error.filename} away"
    return "Make room" if number in FULL else "Check that disk"


def shorten(text: str, most: int = MAX_ERROR) -> str:
    """Return a text with very long words, as the paths of deep folders, cut in their middle; more if there are many.

    A text that has over ``most`` characters then is cut in its middle, too.
    """
    shortened = text
    for length in (60, 40, 20):  # of both ends, in characters
        long_word = rf"(\S{{{length}}})\S{{{MAX_PATH + 1 - 2 * length},}}(\S{{{length}}})"
        shortened = re.sub(long_word, r"\1...\2", text)
        if len(shortened) <= MAX_SENTENCE:
            break
    half = most // 2
    return shortened if len(shortened) <= most else f"{shortened[: half - 5]} ... {shortened[-half:]}"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory did not suffice, of the machine or of a GPU, by what libraries raise for that."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if isinstance(error, UserError):
        return False
    return type(error).__name__ == "OutOfMemoryError" or OUT_OF_MEMORY.search(str(error)) is not None


def out_of_memory_error(error: Exception) -> UserError:
    """Return the error (exit code 6) for memory that did not suffice."""
    limits = {"-v": resource.RLIMIT_AS, "-d": resource.RLIMIT_DATA}
    set_limits = {flag: resource.getrlimit(limit)[0] for flag, limit in limits.items()}
    advice = [
        f"Raise `ulimit {flag}`, which limits this process to {size / 1e9:.2g} GB"
        for flag, size in set_limits.items()
        if size != resource.RLIM_INFINITY
    ]
    way_out = f"{advice[0] if advice else 'Free memory'}, or use a smaller batch, res or model"
    return UserError(f"Out of memory{describe_allocation(error)}. {way_out}.", ExitCode.SPACE)


def describe_allocation(error: Exception) -> str:
    """Return how much memory was asked for, as `` (2.0 GB more are needed)``; an empty string if it is not known."""
    match = ALLOCATION.search(str(error))
    if not match:
        return ""
    size = float(match[1]) * 1024 ** " KMGT".index(match[2].strip()[:1] or " ")
    return f" ({size / 1e9:,.1f} GB more are needed)" if size >= 1e8 else f" ({size / 1e6:,.1f} MB more are needed)"


@contextmanager
def described_os_errors() -> Iterator[None]:
    """Raise UserError instead of an OSError that names a file, as of a folder without permission.

    So it does where the system has no more memory, whatever class a library raises for it.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(error) from None
        if isinstance(error, OSError) and (described := describe_os_error(error)):
            raise described from None
        raise


def lookup(table: Mapping[str, T], name: str, kind: str, option: str | None = None) -> T:
    """Return ``table[name]``; raise a UserError about ``option`` that suggests the nearest names if it is not there."""
    if name in table:
        return table[name]
    raise UserError(f"Unknown {kind} {name!r}. {suggest(name, table)}", option=option)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the known names nearest to ``name``, or with all of them if none is near.

    Names with the same last part come first: ``lr`` suggests ``optim.lr``, and so does ``learning_rate``.
    """
    known = list(known)
    same = {name, SYNONYMS.get(name.split(".")[-1].replace("-", "_"), name)}
    near = [k for k in known if {k, k.split(".")[-1]} & same] or find_close_names(name, known)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not known:
        return "There are none to choose from."
    groups = list(dict.fromkeys(k.partition(".")[0] + ".*" * ("." in k) for k in known))
    choices = known if len(known) <= MAX_NAMES else groups
    if len(choices) > 2 * MAX_NAMES or len(", ".join(choices)) > MAX_CHOICES:
        choices = [g for g in groups if g.endswith(".*")] or find_close_names(name, known, cutoff=0)
        choices = [*choices, "..."]
    return f"Choose one of {', '.join(choices)}."


def find_close_names(name: str, known: list[str], cutoff: float = 0.5) -> list[str]:
    """Return up to three names about as similar to ``name`` as the most similar one is, or those of its letters."""
    near = [k for k in known if sorted(k) == sorted(name)] or get_close_matches(name, known, n=3, cutoff=cutoff)
    ratios = [SequenceMatcher(None, name, k).ratio() for k in near]
    return [k for k, ratio in zip(near, ratios) if ratio > ratios[0] - 0.05]
