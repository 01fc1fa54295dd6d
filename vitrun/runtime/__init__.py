"""What a process works with: device, ranks, files, console, random draws."""
