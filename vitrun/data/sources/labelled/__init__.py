"""Images whose labels are in a table."""
