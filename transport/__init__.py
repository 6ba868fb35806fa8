"""Moving bytes: the only importers of Kafka clients.

confluent-kafka (librdkafka) does all of it. Knows topics, offsets, limits and protocol/; knows no Keras, no decoder and no
environment. No exception of a Kafka client passes its border.
"""
