"""YAML files of the user's, read with limits: each error says what is wrong, and in which line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vitrun.runtime.yaml_text import Extent, TooLarge, check_extent

MAX_BYTES = 200_000  # of a file; those of vitrun have fewer than 5,000
LIMITS = Extent(values=20_000, depth=30)
MAX_DIGITS = 400
PLAIN_TAGS = (
    "str",
    "int",
    "float",
    "bool",
    "null",
    "seq",
    "map",
    "merge",
    "value",
)  # of YAML, behind tag:yaml.org,2002


class UnreadableError(Exception):
    """Raised for a file that is not YAML with options; the message continues the name of the file."""


def read_options(file: Path) -> dict[str, Any]:
    """Return the options in a YAML file. Raise UnreadableError if it has none, or cannot be read."""
    text = read_text(file)
    try:
        check_extent(text, LIMITS, yaml.SafeLoader)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        check_nodes(node, set())
        content = loader.construct_document(node) if node else {}
    except TooLarge as error:
        raise UnreadableError(str(error)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1} " if mark else ""
        raise UnreadableError(f"{line}is not YAML: {' '.join(str(error.problem or error.context).split())}") from None
    except yaml.reader.ReaderError as error:
        number = text.count("\n", 0, error.position) + 1
        raise UnreadableError(f"line {number} is not YAML: it has the control character {error.character:#x}") from None
    except ValueError as error:  # of a number or a tag that YAML's grammar has and Python not
        raise UnreadableError(f"is not YAML: {str(error)[:100]}") from None
    if not isinstance(content or {}, dict):
        raise UnreadableError("has no options, as in name: mine")
    return content or {}


def read_text(file: Path) -> str:
    """Return the text of a file. Raise UnreadableError if it is too large, or not UTF-8."""
    if file.exists() and not file.is_file():
        raise UnreadableError("is not a file: it takes a YAML file with options")
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise UnreadableError(f"is larger than {MAX_BYTES:,} bytes: it is not a file of options")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableError("is in UTF-16: save it as UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"line {line} is not UTF-8: save the file as UTF-8") from None


def check_nodes(node: yaml.Node | None, seen: set[int]) -> None:
    """Raise UnreadableError if a key is given twice or is not text, or a value is neither text nor a number."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    line, tag = node.start_mark.line + 1, node.tag.removeprefix("tag:yaml.org,2002:")
    if tag not in PLAIN_TAGS:
        shown = f"{node.value[:50]}: " if isinstance(node, yaml.ScalarNode) else ""
        raise UnreadableError(f"line {line}: {shown}YAML reads this as {tag[:50]}. Write text, in quotes, or a number")
    if tag in ("int", "float") and len(node.value) > MAX_DIGITS:
        raise UnreadableError(f"line {line} has a number of {len(node.value):,} characters: at most {MAX_DIGITS}")
    if isinstance(node, yaml.MappingNode):
        check_keys(node)
    for part in list_parts(node):
        check_nodes(part, seen)


def check_keys(node: yaml.MappingNode) -> None:
    """Raise UnreadableError if a key of a mapping is given twice, or is not text."""
    keys: set[str] = set()
    for key, _ in node.value:
        line, tag = key.start_mark.line + 1, key.tag.removeprefix("tag:yaml.org,2002:")
        if tag == "merge":
            continue
        if tag != "str" or not key.value:
            shown = repr(key.value[:50]) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise UnreadableError(f"line {line}: {shown} is not a name of an option: write text, if need be in quotes")
        if "." in key.value:
            group, _, option = key.value.partition(".")
            raise UnreadableError(
                f"line {line}: {key.value[:50]} has a dot: write {group[:30]}: {{{option[:30]}: VALUE}}"
            )
        if key.value in keys:
            raise UnreadableError(f"line {line} has {key.value[:50]} a second time: keep one")
        keys.add(key.value)


def list_parts(node: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the values of a list or a mapping."""
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        yield from (value for _, value in node.value)
