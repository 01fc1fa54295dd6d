"""YAML of anyone: plain values only, and never more of them than a recipe has."""

from typing import Any, cast

import yaml

MAX_VALUES = 100_000  # of a document with its aliases written out; the largest file here has 3,000
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, if PyYAML was built with it: ten times as fast


class TooManyValues(yaml.YAMLError):
    """Raised for a document that stands for more values than a recipe can have."""


def load_yaml(text: str) -> Any:
    """Return the values of a YAML document; raise YAMLError if it is none.

    That is also raised for a document that is nested too deeply, has a number that Python cannot read, or whose aliases
    (``*name``) repeat its parts over and over: a few lines can stand for billions of values.
    """
    try:
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            count_values(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError, AttributeError) as error:  # 5,000 digits, a 13th month, a control character
        raise yaml.YAMLError(str(error).splitlines()[0]) from None


def count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for; raise TooManyValues above ``MAX_VALUES``, or if it contains itself.

    ``known`` has the counts of the nodes that were counted before, 0 for those that are being counted.
    """
    if id(node) in known:
        if known[id(node)] == 0:
            raise TooManyValues("an alias in it contains itself")
        return known[id(node)]
    known[id(node)], count = 0, 1
    if isinstance(node, yaml.MappingNode):
        count += sum(count_values(part, known) for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(count_values(part, known) for part in cast(list[yaml.Node], node.value))
    if count > MAX_VALUES:
        raise TooManyValues(f"it has more than {MAX_VALUES:,} values once its aliases (*name) are written out")
    known[id(node)] = count
    return count
