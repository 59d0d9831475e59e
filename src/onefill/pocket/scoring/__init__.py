"""How good a policy or a judge is on scenes that were kept from it."""
