"""The report on the tensors of a loaded file, as text."""

from dataclasses import dataclass

from vitrun.recipes import ClipResNet, IGpt, Model, Timm, ViT

MAX_NAMES = 6  # names in a message


@dataclass(frozen=True)
class LoadReport:
    """Report on the tensors of a file: the number loaded, and the names of those resized, dropped or new."""

    model: str
    loaded: int
    resized: dict[str, list[str]]  # change -> names in the network
    dropped: dict[str, list[str]]  # reason -> names in the file
    new: dict[str, list[str]]  # reason -> names in the network
    notes: list[str]

    def lines(self) -> list[str]:
        """Return one line each for loaded, resized, dropped and new, with counts and reasons, and one per note."""
        return [
            f"loaded {self.loaded} tensors of {self.model}",
            format_counts("resized", self.resized),
            format_counts("dropped", self.dropped),
            format_counts("new", self.new),
            *(f"note: {note}" for note in self.notes),
        ]


def format_counts(action: str, reasons: dict[str, list[str]]) -> str:
    """Return ``dropped 3: head of 10 classes (2), mask token (1)``."""
    details = ", ".join(f"{reason} ({len(names)})" for reason, names in reasons.items())
    return f"{action} {sum(map(len, reasons.values()))}" + (f": {details}" if details else "")


def describe_model(model: Model) -> str:
    """Return a short description of a network: ``vit_b16, 768 wide``."""
    if isinstance(model, ViT | ClipResNet | IGpt):
        return f"{model.name}, {model.width} wide"
    return f"timm's {model.name}" if isinstance(model, Timm) else model.name


def format_names(names: list[str]) -> str:
    """Return the names, or the first of many and the number of the others."""
    first = ", ".join(names[:MAX_NAMES])
    return first if len(names) <= MAX_NAMES else f"{first} and {len(names) - MAX_NAMES} more"
