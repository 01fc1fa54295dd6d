"""vitrun: run the experiments of "An Image is Worth 16x16 Overrides" (arXiv 2010.11929) from the command line."""
