"""vitrun: run the experiments of "An Image is Worth 16x16 Words" (arXiv 2010.11929) from the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrun.models import build, load

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]


def __getattr__(name: str) -> Any:
    """Import ``build`` and ``load`` with torch when they are first used."""
    if name in ("build", "load"):
        from vitrun import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
