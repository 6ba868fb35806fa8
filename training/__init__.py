"""Keras at work: compile and fit arguments, datasets, the fit itself, pseudo-labels.

Knows TensorFlow and the two Keras dialects, and protocol/; knows no Kafka and no environment. TensorFlow is imported inside of
functions, since it takes seconds to load.
"""
