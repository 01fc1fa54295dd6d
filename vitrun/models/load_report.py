"""What became of the tensors of a file, in words."""

from dataclasses import dataclass

from vitrun.recipes import BiT, Timm, ViT

MAX_NAMES = 6  # names in a message


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of a file."""

    model: str
    loaded: int
    resized: dict[str, list[str]]  # what became of them: names in the network
    dropped: dict[str, list[str]]  # why: names in the file
    new: dict[str, list[str]]  # why: names in the network
    notes: list[str]

    def lines(self) -> list[str]:
        """One line each for kept, resized, dropped and new, with counts and reasons, and one a note."""
        return [
            f"kept {self.loaded} tensors of {self.model}",
            format_counts("resized", self.resized),
            format_counts("dropped", self.dropped),
            format_counts("new", self.new),
            *(f"note: {note}" for note in self.notes),
        ]


def format_counts(command: str, reasons: dict[str, list[str]]) -> str:
    """``dropped 3: head of 10 classes (2), mask token (1)``."""
    told = ", ".join(f"{why} ({len(names)})" for why, names in reasons.items())
    return f"{command} {sum(map(len, reasons.values()))}" + (f": {told}" if told else "")


def describe_model(model: ViT | BiT | Timm) -> str:
    """A network in a few words: ``vit_b16, 768 wide``."""
    if isinstance(model, ViT):
        return f"{model.name}, {model.width} wide"
    return model.name if isinstance(model, BiT) else f"timm's {model.name}"


def format_names(names: list[str]) -> str:
    """The names, the first few of many."""
    some = ", ".join(names[:MAX_NAMES])
    return some if len(names) <= MAX_NAMES else f"{some} and {len(names) - MAX_NAMES} more"
