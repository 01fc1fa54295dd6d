"""Data sets on the Hub: the parquet files of one split at a pinned commit, in the cache of the Hub's own client."""
