"""From two folders of videos, or files of features, to a report: protocols, clip lists, features, numbers, plots."""
