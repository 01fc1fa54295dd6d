"""Images with captions: tables of paths, text files beside images, and the Hub's parquet layout."""
