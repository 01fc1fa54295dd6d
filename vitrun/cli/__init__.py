"""Command line: Typer commands, flags, help and exit codes."""
