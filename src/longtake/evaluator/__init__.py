"""A video classifier trained on one's own labelled videos, whose features stand in for published networks."""
