"""Rounds after the first: what they cost beside the fit."""

from __future__ import annotations

import secrets
import time
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.federation import announced, arrays_of, fit_data, image_model, take_rounds
from benchmarks.measure import Row, call, comparison, table, told
from benchmarks.streams import images, numbers
from demo.models import LIBRARIES, import_quietly
from demo.topics import create_topic
from protocol.topics import WEIGHTS_LIMIT_BYTES
from transport.clients import READ_WAIT_MS, Cluster, librdkafka_config
from utils import prepare_tensorflow

ROUNDS = 12
LARGE_BYTES = 100_000_000
LARGE_ARRAYS = 20


def small(bootstrap: str, dialect: str) -> list[float]:
    """Seconds beside the fit of each round after the first, of a small model."""
    prepare_tensorflow()
    model = announced(image_model(dialect), 128, 1)
    return [times.overhead for times in take_rounds(bootstrap, model, fit_data(*images(640)), ROUNDS)[1:]]


def large(bootstrap: str, dialect: str) -> dict[str, list[float]]:
    """The same of a model of LARGE_BYTES, and seconds of a bare producer and consumer for as many bytes."""
    prepare_tensorflow()
    keras = import_quietly(LIBRARIES[dialect])
    side = arrays_of(LARGE_BYTES, LARGE_ARRAYS)[0].shape[0]
    layers = [keras.layers.Dense(side, use_bias=False) for _ in range(LARGE_ARRAYS - 1)]
    ends = keras.layers.Dense(side, use_bias=False, activation="softmax")
    model = keras.Sequential([keras.Input((side,)), *layers, ends])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = fit_data(*numbers(256, side, "float32"))
    times = take_rounds(bootstrap, announced(model, 128, 1), data, 7)[2:]
    return {"ours": [one.overhead for one in times], "bare": [_bare(bootstrap) for _ in range(len(times) + 1)][1:]}


def _bare(bootstrap: str) -> float:
    topic = f"bench-bare-{secrets.token_hex(4)}"
    create_topic(bootstrap, topic, 1, {"max.message.bytes": str(WEIGHTS_LIMIT_BYTES)})
    values = [array.tobytes() for array in arrays_of(LARGE_BYTES, LARGE_ARRAYS)]
    config: dict[str, Any] = {"bootstrap.servers": bootstrap, "message.max.bytes": WEIGHTS_LIMIT_BYTES, "acks": "all"}
    cluster = Cluster("bench", "KAFKA_BOOTSTRAP", bootstrap)
    producer, consumer = Producer(config | {"linger.ms": 0}), Consumer(librdkafka_config(cluster, "bench", READ_WAIT_MS))
    for client in (producer, consumer):
        client.list_topics(timeout=10)
    begun = time.perf_counter()
    for value in values:
        producer.produce(topic, value, b"key", 0)
    producer.flush()
    consumer.assign([TopicPartition(topic, 0, 0)])
    left = len(values)
    while left:
        left -= len([message for message in consumer.consume(left, 0.05) if message.error() is None])
    seconds = time.perf_counter() - begun
    consumer.close()
    return seconds


def run(bootstrap: str) -> str:
    """Measure both sizes in both dialects."""
    lines, rows = [], []
    for dialect, library in LIBRARIES.items():
        overheads = call("benchmarks.rounds", "small", bootstrap=bootstrap, dialect=dialect)
        lines.append((f"small model, {library}", told([1000 * one for one in overheads], "ms"), "below 50 ms"))
        both = call("benchmarks.rounds", "large", bootstrap=bootstrap, dialect=dialect)
        what = f"{LARGE_BYTES // 10**6} MB in {LARGE_ARRAYS} arrays, {library}"
        rows.append(Row(what, "bare produce and consume", both["ours"], both["bare"], "at most 1.5"))
    heads = ("from control message to acknowledged reply, without the fit", "measured", "goal")
    return table(heads, lines) + "\n" + comparison(rows)
