"""Preference pairs: made from pictures or a policy, checked, and imported."""
