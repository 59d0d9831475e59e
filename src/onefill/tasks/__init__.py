"""Tasks: what a masked edit is, and how third parties add one. Neither torch nor any model here."""
