"""``python -m vitrun``."""

from vitrun.cli.app import app

app(prog_name="vitrun")
