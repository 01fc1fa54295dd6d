"""What the types of a table's columns can hold."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def is_text(kind: "pyarrow.DataType") -> bool:
    """Return whether a type of column is text."""
    import pyarrow.types as types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_bytes(kind: "pyarrow.DataType") -> bool:
    """Return whether a type of column is bytes."""
    import pyarrow.types as types

    return any(
        is_kind(kind)
        for is_kind in (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    )


def may_be_images(kind: "pyarrow.DataType") -> bool:
    """Return whether a type of column can hold images: bytes, paths, or a struct with ``bytes`` or ``path``."""
    import pyarrow.types as types

    if types.is_struct(kind):
        fields = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
        fits = {"bytes": is_bytes, "path": is_text}
        used = [name for name in fits if name in fields and not types.is_null(fields[name])]
        return all(fits[name](fields[name]) for name in used) and ("bytes" in fields or "path" in used)
    return is_bytes(kind) or is_text(kind)


def may_be_labels(kind: "pyarrow.DataType") -> bool:
    """Return whether a type of column can hold labels: whole numbers, booleans or texts."""
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_integer(kind) or types.is_boolean(kind) or is_text(kind)
