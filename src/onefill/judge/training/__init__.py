"""Training a judge on preference pairs (the paper's Eq. 3)."""
