"""The reinforcement learning of OneReward (arXiv 2508.21066), Algorithms 1 and 2."""
