"""The training engine: stages, players, checkpoints, exact resume. It knows no model and no data set."""
