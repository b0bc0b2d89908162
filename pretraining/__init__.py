"""The recipe of the embedded chat model: corpus, training, export, measurement."""
