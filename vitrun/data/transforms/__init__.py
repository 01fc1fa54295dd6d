"""What is done to images: crops, resizing, RandAugment."""
