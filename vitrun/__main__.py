"""``python -m vitrun``."""

from vitrun.cli import app

app(prog_name="vitrun")
