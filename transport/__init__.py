"""Moving bytes: the only importers of Kafka clients.

confluent-kafka (librdkafka) reads, kafka-python administers and writes. Knows topics, offsets, limits and protocol/; knows no
Keras, no decoder and no environment. No exception of a Kafka client passes its border.
"""
