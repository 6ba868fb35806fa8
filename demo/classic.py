"""Single classic training (CASE 1): two devices with half of scikit-learn's digits each, two workers."""

from __future__ import annotations

from demo.course import Course
from demo.datasets import Digits, split_digits
from demo.device import Stream
from demo.models import digits_model
from demo.stage import HEAD, ROW, Outcome, Stage, held_out_accuracy, say, stage, table_rows
from demo.write import write_stream

ROUNDS = 5
TRAINING_SETTINGS = {"batch": 32, "kwargs_fit": {"epochs": 3}, "kwargs_val": {}, "unsupervised": False}
VALIDATION_RATE = 0.2
GOOD_ACCURACY = 0.93


def run(dialect: str) -> Outcome:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    digits = split_digits()
    with stage() as here:
        for name, stream in write_digits(here, digits).items():
            here.start_worker(name, stream, validation_rate=VALIDATION_RATE)
        model = digits_model(dialect)
        announced = here.announced(model, dialect, TRAINING_SETTINGS, ROUNDS)
        print(ROW.format(*HEAD))
        accuracy, course = 0.0, Course()
        for number, one in enumerate(here.cloud.run(announced, rounds=ROUNDS, clients=len(here.names))):
            accuracy = held_out_accuracy(model, one.arrays, digits.held_out, digits.held_out_labels)
            print("\n".join(table_rows(number, one, here.names, accuracy)), flush=True)
            course.add(number, one.replies, here.names)
            course.note(number, accuracy)
        here.end()
    return outcome(accuracy, course)


def outcome(accuracy: float, course: Course, where: str = "") -> Outcome:
    """What an accuracy on the held-out digits comes to.

    Args:
        where: to go behind it.
    """
    fault = None
    if accuracy < GOOD_ACCURACY:
        fault = f"that is less than the {GOOD_ACCURACY:.0%} that this model and these data reach"
    return Outcome(f"global model: {accuracy:.2%} of the held-out digits right{where}", course, fault)


def write_digits(here: Stage, digits: Digits) -> dict[str, Stream]:
    """Two devices write half of the digits each: one the images' bytes, the other 64 floats of an Avro record.

    Returns:
        The streams by the devices' names.
    """
    vectors, labels, half = digits.images.reshape(len(digits.images), -1), digits.labels, len(digits.images) // 2
    topics = f"{here.model_id}-device-1", f"{here.model_id}-device-2"  # of their own, so that a broker may be used again
    streams = {
        "device-1-RAW": write_stream(here.bootstrap, topics[0], vectors[:half], labels[:half], "RAW"),
        "device-2-AVRO": write_stream(
            here.bootstrap, topics[1], vectors[half:].astype("float32"), labels[half:], "AVRO", partitions=2
        ),
    }
    for name, stream in streams.items():
        say(f"device {name} wrote {stream.total} digits as {stream.input_format} to {stream.spec}")
    return streams
