"""Results damaged on purpose, so that it is known which of two is better."""
