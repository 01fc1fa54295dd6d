"""The command line: Typer commands, flags, help and exit codes."""
