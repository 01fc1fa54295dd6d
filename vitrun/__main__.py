"""``python -m vitrun``."""

from vitrun.cli import app

app()
