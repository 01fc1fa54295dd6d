"""Captions of drawn shapes: what each image shows, in words."""

NUMBERS = ("one", "two", "three", "four", "five")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")


def describe_object(target: str, shape: str, colour: str, count: int, cell: int, turn: int) -> tuple[str, ...]:
    """Return two captions of an image; which facts they name depends on what is drawn for a ``target``."""
    if count > 1:
        return f"{NUMBERS[count - 1]} {colour} {plural(shape)}", f"{NUMBERS[count - 1]} {plural(shape)} in {colour}"
    if target == "count":
        return f"one {colour} {shape}", f"one {shape} in {colour}"
    place = {"position": f" {name_place(cell)}", "orientation": f" turned by {45 * turn} degrees"}.get(target, "")
    return f"{article(colour)} {colour} {shape}{place}", f"{article(shape)} {shape} in {colour}{place}"


def name_place(cell: int) -> str:
    """Return ``at the top left``, of a cell of a grid of 3 by 3, counted row by row."""
    row, column = divmod(cell, len(COLUMNS))
    return f"at the {name_cell(row, column)}"


def name_cell(row: int, column: int) -> str:
    """Return ``top left``, or ``middle`` for the cell in the middle."""
    return "middle" if ROWS[row] == COLUMNS[column] else f"{ROWS[row]} {COLUMNS[column]}"


def article(word: str) -> str:
    """Return ``a`` or ``an``."""
    return "an" if word[0] in "aeiou" else "a"


def plural(shape: str) -> str:
    """Return ``stars``, ``pluses`` or ``scribbles 7``."""
    name, _, number = shape.partition(" ")
    return f"{name}{'es' if name.endswith('s') else 's'} {number}".strip()
