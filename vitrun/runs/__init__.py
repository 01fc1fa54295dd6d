"""Run folder, its checkpoints, and how runs are found."""
