"""The run folder, its checkpoints, and how runs are found."""
