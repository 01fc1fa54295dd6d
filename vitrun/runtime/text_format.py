"""Values as text: for people, as JSON, and without control characters."""

import json
import math
from collections.abc import Mapping
from typing import Any

from vitrun.errors import shorten

LINE_ENDS = "\u2028\u2029"  # of Unicode, at which programs divide lines that a terminal shows as one
REVERSING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # direction of writing
MAX_VALUE = 300  # characters of a value


def escape_controls(text: str) -> str:
    """Return a text whose control characters, but for line feeds and tabs, are escaped: names of files may have any.

    So are those that reverse the direction of writing, by which one name can look like another.
    """
    return "".join(repr(c)[1:-1] if is_control(c) else c for c in text)


def is_control(c: str) -> bool:
    """Return whether a character is to be escaped."""
    return c in LINE_ENDS + REVERSING or not (c.isprintable() or c in "\n\t" or ord(c) >= 160)


def format_json(result: Mapping[str, Any], indent: int | None = None) -> str:
    """Return a result as valid JSON: a number that is not finite is null, and named in ``not_finite`` with its text."""
    missing: dict[str, str] = {}

    def clean(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {str(key): clean(item, f"{name}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item, f"{name}.{number}") for number, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            missing[name.removeprefix(".")] = str(value)
            return None
        return value

    content = clean(result, "")
    return json.dumps(content | ({"not_finite": missing} if missing else {}), indent=indent, default=str)


def format_result(result: dict[str, Any]) -> list[str]:
    """Return a line for each value of a plain result; a metric that has a deviation is shown with it."""
    metrics = result.get("metrics", {})
    values = [(name, value) for name, value in result.items() if name != "metrics"]
    width = max((len(name) for name, _ in values), default=0)
    lines = []
    for name, value in values:
        std = metrics.get(name, {}).get("std")
        for item in value if isinstance(value, list) else [value]:
            spread = "" if std is None else f" ± {format_value(std)}"
            lines.append(f"  {name.ljust(width)}  {shorten(format_value(item), MAX_VALUE)}{spread}")
    return lines


def format_value(value: object) -> str:
    """Return a value for people: floats with four digits, dicts as ``lr 0.003, top1 0.91``."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(item)}" for name, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_speed(value: float) -> str:
    """Return images per second with three digits, never as a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def format_duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3 min``, ``1.5 h`` or ``2.1 days``."""
    for limit, unit, size in ((90, "s", 1), (90 * 60, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"
