"""Published facts about a data set, known without opening it."""

from dataclasses import dataclass

from vitrun import recipes


@dataclass(frozen=True)
class Facts:
    """The row of a data set in the table of ``vitrun data``; None or empty if unknown."""

    classes: int | None = None
    train_images: int | None = None
    test_images: int | None = None
    hub: str | None = None  # ID@REVISION
    licence: str | None = None
    paper: str | None = None  # the name in the papers
    origin: str = ""  # a sentence, after a space

    def count_images(self, part: str) -> int | None:
        """Return the number of images of the ``train`` or ``test`` part."""
        return self.train_images if part == "train" else self.test_images


def published_facts(data: recipes.DescribedDataset) -> Facts:
    """Return the facts that the row of a data set states."""
    hub, revision = getattr(data, "hub", None), getattr(data, "revision", None)
    return Facts(
        data.classes,
        data.train_images,
        data.test_images,
        f"{hub}@{revision[:4]}" if hub and revision else hub,
        data.licence,
        data.paper,
        recipes.describe_origin(data.name, data.home, hub),
    )
