"""Folders of videos -> an index -> clips -> batches in [-1, 1]. Every sample is a function of (seed, position)."""
