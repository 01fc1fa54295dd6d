"""Resources of a process: device, ranks, files, console, random draws."""
