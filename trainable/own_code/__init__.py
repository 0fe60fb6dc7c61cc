"""Python files of one's own that a config names: a network, a loss, an optimizer, a learning-rate
schedule, or the training as a whole."""
