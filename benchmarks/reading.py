"""Reading a stream: beside a bare consumer of the same topic, and beside other readers of its formats."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.measure import RUNS, Row, call, comparison, in_turn
from benchmarks.streams import environment, images, numbers, write
from config import Settings
from decoders import make_decoder
from demo.formats import encode
from protocol.records import RecordBatch
from reading import keep_labelled_stream
from training.stopping import Stop
from transport.clients import READ_WAIT_MS, librdkafka_config
from transport.reader import READ_BATCH

LONG = 1_000_000
SMALL = 300_000
SHORT = 70_000
NUMBERS = 30_000  # for the readers of formats, in memory, but FEW records at least
FEW = 2_000


def bare(job: dict[str, str]) -> float:
    """Seconds in which librdkafka hands over the records of a stream to someone who looks at none of them."""
    wanted = Settings.from_env(job)
    begun = time.perf_counter()
    consumer = Consumer(librdkafka_config(wanted.data, "bench-bare", READ_WAIT_MS))
    consumer.assign([TopicPartition(one.topic, one.partition or 0, one.start or 0) for one in wanted.stream])
    left = wanted.total_msg or 0
    while left:
        left -= len(consumer.consume(min(READ_BATCH, left), 0.05))
    seconds = time.perf_counter() - begun
    consumer.close()
    return seconds


def ours(job: dict[str, str]) -> float:
    """Seconds in which the worker has the same stream as arrays."""
    wanted = Settings.from_env(job)
    begun = time.perf_counter()
    data = keep_labelled_stream(wanted, wanted.decoder(), Stop())  # kept until the time is taken: giving memory back takes some
    seconds = time.perf_counter() - begun
    if len(data.kept) != wanted.total_msg:
        raise AssertionError(f"{len(data.kept)} of {wanted.total_msg} records were read")
    return seconds


def decoding(input_format: str, sizes: list[int], dtype: str) -> dict[str, float]:
    """Seconds for some records of samples of such sizes, values and keys, of the worker and of the format's usual reader."""
    fields = math.prod(sizes)
    records = max(FEW, NUMBERS // fields)
    features, labels = numbers(records, fields, dtype)
    keys, values, config = encode(features.reshape(-1, *sizes), labels, input_format)
    decoder = make_decoder(input_format, config)
    batch = READ_BATCH
    begun = time.perf_counter()
    for start in range(0, records, batch):
        part = slice(start, start + batch)
        decoder.decode(RecordBatch("bench", 0, range(records)[part], keys[part], values[part]))
    half = time.perf_counter()
    schemas = (config.get("data_scheme"), config.get("label_scheme"))
    usual, usual_key = (json.loads if schema is None else _avro(schema) for schema in schemas)
    for start in range(0, records, batch):
        np.array([usual(value) for value in values[start : start + batch]], dtype)
        np.array([usual_key(key) for key in keys[start : start + batch]], dtype)
    return {"ours": half - begun, "usual": time.perf_counter() - half}


def _avro(schema: str) -> Callable[[bytes], Any]:
    import avro.io  # noqa: PLC0415 - for this part alone
    import avro.schema  # noqa: PLC0415 - as above

    reader = avro.io.DatumReader(avro.schema.parse(schema))

    def read(value: bytes) -> list[Any]:
        datum: Any = reader.read(avro.io.BinaryDecoder(io.BytesIO(value)))
        return list(datum.values())

    return read


def run(bootstrap: str) -> str:
    """Measure all of it."""
    streams = [
        ("RAW, 1 M x 784 bytes", "at least 0.8", write(bootstrap, *images(LONG), "RAW")),
        ("RAW, 70 k x 784 bytes", "at least 0.8", write(bootstrap, *images(SHORT), "RAW")),
        ("AVRO, 300 k x 3 float", "at least 0.5", write(bootstrap, *numbers(SMALL, 3, "float32"), "AVRO")),
        ("AVRO, 20 k x 784 float", "at least 0.5", write(bootstrap, *numbers(20_000, 784, "float32"), "AVRO")),
        ("AVRO, 300 k x 3 int", "", write(bootstrap, *numbers(SMALL, 3, "int32"), "AVRO")),
        ("JSON, 300 k x 3 float", "", write(bootstrap, *numbers(SMALL, 3, "float32"), "JSON")),
    ]
    rows = []
    for what, goal, stream in streams:
        job = environment(bootstrap, stream)
        measured, against = in_turn(*(partial(call, "benchmarks.reading", name, job=job) for name in ("ours", "bare")))
        rows.append(Row(f"{what}, into arrays", "bare consumer", measured, against, goal, is_rate=True))
    flat = ((3,), (784,))
    for input_format, dtype, beside, goal, all_sizes in (
        ("AVRO", "float32", "avro", "at least 10", flat),
        ("AVRO", "int32", "avro", "at least 10", flat),
        ("JSON", "float32", "json", "at least 3", flat),
        ("JSON", "int32", "json", "at least 3", flat),
        ("JSON", "uint8", "json", "at least 3", ((28, 28),)),
    ):
        for sizes in all_sizes:
            arguments = {"input_format": input_format, "sizes": sizes, "dtype": dtype}
            pairs = [call("benchmarks.reading", "decoding", **arguments) for _ in range(RUNS)]
            what = f"{input_format}, {' x '.join(map(str, sizes))} {dtype} a record, decoding alone"
            measured, against = ([pair[name] for pair in pairs] for name in ("ours", "usual"))
            rows.append(Row(what, f"package {beside}", measured, against, goal, is_rate=True))
    return "Rates of records; a ratio is ours over the other's.\n\n" + comparison(rows)
