"""From overrides to a recipe: Hydra composes, pydantic validates."""

SINGLE_COMMANDS = ("predict",)  # those that -m cannot run: commas in their texts make no sweep
