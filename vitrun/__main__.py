"""``python -m vitrun``."""

import sys

if not sys.flags.safe_path:  # a file or folder here called like a package, such as datasets/, is not that package
    del sys.path[0]

from vitrun.cli.app import app

app(prog_name="vitrun")
