"""onefill: teach an image model to edit inside a mask by listening to one judge."""

__version__ = "0.1.0"
