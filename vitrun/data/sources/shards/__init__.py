"""Tar shards in WebDataset's layout: on disk, or at URLs from which they are downloaded once."""
