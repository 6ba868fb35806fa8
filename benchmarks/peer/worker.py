"""A worker that reads its stream from Kafka for every epoch, as Kafka-ML's own does: what this project's is measured beside.

Takes part in a federation of kind 1 (single classic) to its last round, with TensorFlow 2.12 and the variables that a Job gets:

- the stream, RAW alone, is a pipeline of tensorflow-io's KafkaDataset, decoded record by record. Nothing keeps it: each epoch
  reads the topic up to the end of the training part, and once more from the beginning to validate with the rest;
- each round builds, compiles and traces its model anew, and fits with Keras's progress bar, unless the cloud says otherwise;
- the control topic is followed in the client's consumer group, and a message is committed before it is trained.

It stands alone: run it with the packages of the requirements.txt beside it. It is for data that the benchmark itself wrote, and
unpickles weights without a look: never start it on a Kafka where others write.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import TopicAlreadyExistsError
from tensorflow_io.kafka import KafkaDataset

LAST = -1  # the version that ends a federation
WEIGHTS_LIMIT_BYTES = 10_000_000
ACKNOWLEDGED_S = 60.0
TOPICS_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What the environment tells.

    Attributes:
        cloud, edge: host:port lists of the two Kafkas.
        group: the consumer group that stands for this client, and the key of its replies.
        model_control, reply_control, reply_data: topics of model messages, of replies, and of this client's weights.
        stream: stream specs with partition, offset and end.
        input_config: data_type, data_reshape, label_type, label_reshape.
        training: how many samples, from the stream's beginning, to train on; the rest validates.
        total: samples of the stream.
    """

    cloud: str
    edge: str
    group: str
    model_control: str
    reply_control: str
    reply_data: str
    stream: list[str]
    input_config: Mapping[str, Any]
    training: int
    total: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Job:
        """Read the variables.

        Raises:
            KeyError: one is missing.
            ValueError: one has no such value, or is not what this worker is for.
        """
        if environ["INPUT_FORMAT"] != "RAW":
            raise ValueError(f"INPUT_FORMAT={environ['INPUT_FORMAT']!r}: this worker reads RAW alone")
        model_id, client_id, total = environ["FEDERATED_MODEL_ID"], environ["FEDERATED_CLIENT_ID"], int(environ["TOTAL_MSG"])
        return cls(
            cloud=environ["KML_CLOUD_BOOTSTRAP_SERVERS"],
            edge=environ["DATA_BOOTSTRAP_SERVERS"],
            group=f"FED-MODEL-{model_id}-CLIENT-{client_id}",
            model_control=f"FED-{model_id}-model_control_topic",
            reply_control=f"FED-{model_id}-agg_control_topic",
            reply_data=f"FED-{model_id}-agg_data_topic-{client_id}",
            stream=environ["DATA_TOPIC"].split(","),
            input_config=json.loads(environ["INPUT_CONFIG"]),
            training=int((1 - float(environ["VALIDATION_RATE"])) * total),
            total=total,
        )


def prepare_topics(job: Job) -> None:
    """Wait for the cloud's topic of model messages, and make the one for this client's weights, if it is not there."""
    options = {"num_partitions": 1, "configs": {"max.message.bytes": str(WEIGHTS_LIMIT_BYTES)}}
    admin = KafkaAdminClient(bootstrap_servers=job.cloud)
    while job.model_control not in admin.list_topics():
        time.sleep(TOPICS_PAUSE_S)
    try:
        admin.create_topics({job.reply_data: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        pass
    finally:
        admin.close()


def model_messages(job: Job) -> Iterator[dict[str, Any]]:
    """Yield each model message as it comes, to the last."""
    consumer = KafkaConsumer(
        job.model_control,
        bootstrap_servers=job.cloud,
        group_id=job.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    for record in consumer:
        consumer.commit()
        message = json.loads(record.value)
        yield message
        if message["version"] == LAST:
            break
    consumer.close()


def read_weights(job: Job, spec: str) -> list[Any]:
    """Read the arrays that a model message points to, by topic:partition:offset:end, in the order of their keys."""
    topic, partition, offset, end = spec.split(":")
    consumer = KafkaConsumer(bootstrap_servers=job.cloud, group_id=job.group, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, int(partition))])
    consumer.seek(TopicPartition(topic, int(partition)), int(offset))
    arrays: list[Any] = []
    for record in consumer:
        array = pickle.loads(record.value)  # noqa: S301 - the benchmark wrote it
        arrays.insert(int.from_bytes(record.key, "big"), array)
        if record.offset >= int(end) - 1:
            break
    consumer.close()
    return arrays


def build(job: Job, message: Mapping[str, Any]) -> Any:
    """Make a compiled Keras 2 model of a model message, with its weights."""
    model = tf.keras.models.model_from_json(message["model_architecture"])
    model.set_weights(read_weights(job, message["topic"]))
    compile_args = dict(message["model_compile_args"])
    optimizer = tf.keras.optimizers.deserialize(compile_args.pop("optimizer"))
    loss = tf.keras.losses.deserialize(compile_args.pop("loss"))
    model.compile(optimizer, loss, **compile_args)
    return model


def samples(job: Job) -> Any:
    """Make the pipeline of the stream's samples, (features, label) each; whoever iterates over it reads the topic."""
    config = job.input_config

    def decode(value: Any, key: Any) -> tuple[Any, Any]:
        return (
            _decode_raw(value, config["data_type"], config["data_reshape"]),
            _decode_raw(key, config["label_type"], config["label_reshape"]),
        )

    # Not the group that follows the control topic: with one Kafka for cloud and edge, each reading's commit would be refused in
    # it, which takes 0.2 s.
    group = f"{job.group}-stream"
    return KafkaDataset(job.stream, servers=job.edge, group=group, eof=True, message_key=True).map(decode)


def _decode_raw(data: Any, dtype: str, reshape: str | None) -> Any:
    flat = tf.io.decode_raw(data, tf.as_dtype(dtype))
    return flat if reshape is None else tf.reshape(flat, [int(size) for size in reshape.split()])


def fit(model: Any, stream: Any, job: Job, settings: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Train a model; returns its metrics as a reply has them."""
    history = model.fit(
        stream.take(job.training).batch(settings["batch"]),
        validation_data=stream.skip(job.training).batch(settings["batch"]),
        **settings["kwargs_fit"],
        **settings["kwargs_val"],
    ).history
    prefix = "val_"
    return {
        "training": {name: numbers for name, numbers in history.items() if not name.startswith(prefix)},
        "validation": {name.removeprefix(prefix): numbers for name, numbers in history.items() if name.startswith(prefix)},
    }


def reply(job: Job, producer: KafkaProducer, arrays: list[Any], version: int, metrics: Mapping[str, Any]) -> None:
    """Send weights, each acknowledged before the next, and then the message that tells of them."""
    offsets = []
    for index, array in enumerate(arrays):
        sent = producer.send(job.reply_data, key=bytes([index]), value=pickle.dumps(array, protocol=4))
        producer.flush()
        offsets.append(sent.get(ACKNOWLEDGED_S).offset)
    content = {
        "topic": f"{job.reply_data}:0:{offsets[0]}:{offsets[-1] + 1}",
        "version": version if version == LAST else version + 1,
        "metrics": metrics,
        "num_data": job.total,
    }
    told = producer.send(job.reply_control, key=job.group.encode(), value=json.dumps(content).encode())
    told.get(ACKNOWLEDGED_S)


def main() -> int:
    """Take part to the last round."""
    job = Job.from_env(os.environ)
    prepare_topics(job)
    producer = KafkaProducer(bootstrap_servers=job.cloud, max_request_size=WEIGHTS_LIMIT_BYTES)
    stream = samples(job)
    for message in model_messages(job):
        model = build(job, message)
        metrics = fit(model, stream, job, message["training_settings"])
        reply(job, producer, model.get_weights(), message["version"], metrics)
    producer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
