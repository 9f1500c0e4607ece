"""Trained models measured side by side: what their videos are worth, and what they cost.

A layer of its own above the families, because it needs all of them at once and they never import each other; below
studio and the command line, which only show what it finds. It makes no numbers of its own about videos: those are
`longtake.metrics`', and it reaches a family only through `longtake.models.load` and the pipeline's `stream`.
"""
