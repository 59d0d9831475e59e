"""The tasks that come with onefill, registered through the same entry points as anybody's."""
