"""What the bytes on the wire mean: messages, stream specs, weights, metrics, and the errors that name a fault in them.

Knows numpy and the JSON of the contract; knows no Kafka client, no TensorFlow, no environment. Every other room may import
this one, and it imports none of them.
"""
