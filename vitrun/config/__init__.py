"""From overrides to a recipe: Hydra composes, pydantic validates."""
