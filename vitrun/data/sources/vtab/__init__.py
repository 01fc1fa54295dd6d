"""VTAB-1k (arXiv 1910.04867): exactly the published 1,000 training images and the test images of its nineteen tasks."""

from vitrun.data.sources.vtab.parts import open_suite, open_vtab, read_part

__all__ = ["open_suite", "open_vtab", "read_part"]
