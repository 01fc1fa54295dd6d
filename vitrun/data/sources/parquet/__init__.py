"""Tables of images: parquet files in the Hub's layout, read in place, and what the Hub's ``datasets`` has stored."""
