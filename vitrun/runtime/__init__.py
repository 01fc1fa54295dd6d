"""What a process runs on: device, ranks, files, console, random draws."""
