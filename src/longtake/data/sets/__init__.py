"""Published data sets: one file each, from the layout it is published in to the list of videos to make."""
