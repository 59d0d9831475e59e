"""How the embedded judge is made, and the second judge beside it."""
