"""The web page: see what a model does, and watch a run, without learning the options."""
