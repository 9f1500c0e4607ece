"""Networks that turn clips into features and class probabilities. Importing this loads no torch."""
