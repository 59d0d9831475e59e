"""Results of which it is known which is better: damaged on purpose, or painted by the policy."""
