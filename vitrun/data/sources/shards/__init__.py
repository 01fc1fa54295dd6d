"""Tar shards in WebDataset's layout: on disk, or at web addresses and then downloaded once."""
