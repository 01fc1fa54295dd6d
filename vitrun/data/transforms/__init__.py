"""Transforms of images: crops, resizing, RandAugment."""
