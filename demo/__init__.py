"""The other side of the worker: a real Kafka, a cloud that aggregates, devices that write, and all of it as one command.

Speaks the wire contract by means of `protocol/` and Kafka clients of its own. The worker it starts as Kafka-ML does, as a
process with an environment; of its code it has only what keeps TensorFlow quiet.
"""
