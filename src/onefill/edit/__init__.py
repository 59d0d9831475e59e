"""Editing photographs: the model paints a crop, every pixel around the mask stays."""
