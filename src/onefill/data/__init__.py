"""Streams of training samples: an image, a mask, the words and the task."""
