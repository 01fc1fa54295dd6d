"""YAML of anyone: plain values only, and never more of them than a recipe has."""

from typing import Any, NamedTuple

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, if PyYAML was built with it: ten times as fast


class TooLarge(yaml.YAMLError):
    """Raised for a document that stands for more values than a recipe can have, or for deeper ones."""


class Extent(NamedTuple):
    """Size of a part of a document, every alias (``*name``) replaced by what it stands for."""

    values: int
    depth: int  # lists and mappings within each other


LIMITS = Extent(values=100_000, depth=100)  # the largest file here has 3,000 values


def load_yaml(text: str) -> Any:
    """Return the values of a YAML document; raise YAMLError if it is none.

    That is also raised for a document that is nested too deeply, has a number that Python cannot read, or whose aliases
    (``*name``) repeat its parts over and over: a few lines can stand for billions of values.
    """
    try:
        check_extent(text, LIMITS)
        return yaml.load(text, LOADER)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError, AttributeError) as error:  # 5,000 digits, a 13th month, a control character
        raise yaml.YAMLError(str(error).splitlines()[0]) from None


def check_extent(text: str, limits: Extent, loader: Any = LOADER) -> None:
    """Raise TooLarge if the values of a document exceed ``limits``, before they are built; its message has the line."""
    anchors: dict[str, Extent | None] = {}  # None while the part is open
    open_parts: list[tuple[str | None, list[Extent]]] = [(None, [])]
    for event in yaml.parse(text, loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if len(open_parts) > limits.depth:
            raise TooLarge(f"line {line}: more than {limits.depth} lists and mappings lie within each other")
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, []))
            anchors |= {event.anchor: None} if event.anchor else {}
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, parts = open_parts.pop()
            extent = enclose(parts)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, extent = event.anchor, Extent(1, 1)
        elif isinstance(event, yaml.AliasEvent) and event.anchor in anchors:  # YAML refuses one that is unknown
            anchor, aliased = None, anchors[event.anchor]
            if aliased is None:
                raise TooLarge(f"line {line}: *{event.anchor[:50]} stands for itself")
            extent = aliased
        else:
            continue
        anchors |= {anchor: extent} if anchor else {}
        open_parts[-1][1].append(extent)
        check_limits(extent, limits, line)


def enclose(parts: list[Extent]) -> Extent:
    """Return the extent of a list or mapping of these parts."""
    return Extent(1 + sum(part.values for part in parts), 1 + max((part.depth for part in parts), default=0))


def check_limits(extent: Extent, limits: Extent, line: int) -> None:
    """Raise TooLarge if a part that ends in a line is too large or too deep."""
    if extent.values > limits.values:
        raise TooLarge(f"line {line}: these are more than {limits.values:,} values")
    if extent.depth > limits.depth:
        raise TooLarge(f"line {line}: more than {limits.depth} lists and mappings lie within each other")
