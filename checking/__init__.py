"""What can be told before a worker runs: `--check` looks at settings and both Kafkas, `--describe` tells of the variables.

Knows the settings, the decoders and the transport, and changes nothing on a Kafka; loads no TensorFlow.
"""
