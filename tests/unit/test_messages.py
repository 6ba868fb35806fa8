"""Messages of the control topics: what is understood, what is refused with which words, what a reply says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ModelError
from protocol.messages import Answer, Metrics, Trained, encode_reply, parse_answer, parse_model_message
from protocol.positions import Positions
from protocol.stream_spec import OffsetRange
from tests.support import golden, watch
from tests.support.messages import PLACE, model_json, model_message


def fault_of(value: bytes | None) -> str:
    with pytest.raises(ModelError) as caught:
        parse_model_message(value, PLACE)
    return str(caught.value)


def fault_or_none(value: bytes) -> str | None:
    try:
        parse_model_message(value, PLACE)
    except ModelError as exc:
        return str(exc)
    return None


def test_a_captured_message_is_understood() -> None:
    first, last = (parse_model_message(one.value, PLACE) for one in golden.records("distributed", "model_control"))
    assert first.weights == (OffsetRange("FED-golden-distributed-model_data_topic", 0, 0, 8),)
    assert (first.version, first.reply_version, first.is_last) == (0, 1, False)
    assert (last.version, last.reply_version, last.is_last) == (-1, -1, True)
    assert first.settings.batch == 32
    assert first.settings.kwargs_fit == {"epochs": 2}
    assert first.settings.outputs == 2
    assert first.compile_args["loss_weights"] == [0.001, 0.001]


def test_settings_of_other_kinds_are_read() -> None:
    settings = model_message(
        training_settings={
            "batch": 8,
            "kwargs_fit": None,
            "unsupervised": True,
            "unsupervised_rounds": 3,
            "confidence": 0.9,
            "stream_timeout": -1,
            "N": 2,
        }
    ).settings
    assert (settings.kwargs_fit, settings.kwargs_val) == ({}, {})
    assert (settings.unsupervised_rounds, settings.confidence, settings.stream_timeout, settings.outputs) == (3, 0.9, -1, 2)


def test_unknown_keys_are_ignored() -> None:
    assert model_message(colour="blue").version == 0


def test_a_message_is_known_by_spec_and_version() -> None:
    assert model_message().identity == model_message().identity
    assert model_message().identity != model_message(version=1).identity
    assert model_message().identity != model_message(topic="FED-dig1-model_data_topic:0:4:8").identity


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"version": "1"}, "version: expected a valid integer, received '1' (str)"),
        ({"version": True}, "version: expected a valid integer, received True (bool)"),
        ({"version": -2}, "version: expected greater than or equal to -1, received -2 (int)"),
        ({"training_settings": {}}, "training_settings.batch: missing"),
        ({"training_settings": {"batch": "32"}}, "training_settings.batch: expected a valid integer, received '32' (str)"),
        ({"training_settings": {"batch": 0}}, "training_settings.batch: expected greater than or equal to 1, received 0 (int)"),
        ({"model_architecture": {}}, "model_architecture: expected a valid string, received {} (dict)"),
        ({"model_compile_args": None}, "model_compile_args: expected an object, received None (NoneType)"),
        ({"topic": "w:0:0:0"}, "topic: expected topic:partition:offset:end of at least one array, received w:0:0:0"),
        ({"topic": "w"}, "topic: expected topic:partition:offset:end of at least one array, received w"),
        ({"version": 2**31}, "version: expected less than or equal to 2147483647, received 2147483648 (int)"),
        ({"topic": "w:0:0:1," * 2_000}, "topic: expected String should have at most 10000 characters, received 'w:0:0:1,w:0"),
        ({"topic": "w:0:0:1,w:0:0:2"}, "topic: w:0:0:1 and w:0:0:2 share records; name each record once"),
        ({"topic": "w\n:0:0:1"}, "topic: 'w\\n' is no name of a Kafka topic"),
        ({"topic": "w:0:5:2"}, "topic: 'w:0:5:2' ends before it starts"),
    ],
)
def test_a_wrong_field_is_named_by_its_path_and_place(changes: dict[str, Any], fault: str) -> None:
    text = fault_of(json.dumps(model_json(**changes)).encode())
    assert text.startswith(fault)
    assert text.endswith(f", at {PLACE}")


def test_all_wrong_fields_are_told_at_once() -> None:
    assert fault_of(b'{"version": "x", "training_settings": {"batch": 1}, "model_architecture": "{}"}') == (
        "topic: missing; version: expected a valid integer, received 'x' (str); model_compile_args: missing, at " + PLACE
    )


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b'{"topic": ', "message: expected JSON, received b'{\"topic\": ' (EOF while parsing a value at line 1 column 10)"),
        (b"[]", "message: expected an object, received [] (list)"),
        (b"[" * 100_000, "message: expected JSON, received b'[[["),
        (None, "a model message is JSON of at most 5000000 bytes, received nothing"),
        (b" " * 5_000_001, "a model message is JSON of at most 5000000 bytes, received 5000001 bytes"),
        (b'{"version": ' + b"9" * 5_000 + b"}", 'message: expected JSON, received b\'{"version": 9999'),
        (b'"\\ud800"', "message: expected JSON, received "),
    ],
)
def test_what_is_no_message_is_refused(value: bytes | None, fault: str) -> None:
    assert fault_of(value).startswith(fault)


def test_a_reply_says_what_the_contract_wants() -> None:
    metrics = Metrics(training={"loss": [0.5]}, validation={"loss": [None]})
    reply = json.loads(
        encode_reply(OffsetRange("FED-dig1-agg_data_topic-c1", 0, 4, 8), model_message(version=2), Trained(metrics, 400))
    )
    assert reply == {
        "topic": "FED-dig1-agg_data_topic-c1:0:4:8",
        "version": 3,
        "metrics": {"training": {"loss": [0.5]}, "validation": {"loss": [None]}},
        "num_data": 400,
        "answers": {"topic": "FED-dig1-model_data_topic:0:0:4", "topic_id": ""},  # an extension
    }


@pytest.mark.parametrize("value", [None, b"", b"hello", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"version": 3}'])
def test_what_is_no_reply_answers_nothing(value: bytes | None) -> None:
    assert not parse_answer(value).is_to(model_message(version=2))
    assert not parse_answer(value).is_beside(model_message(version=2))


def test_a_reply_tells_how_far_the_stream_has_been_trained_on() -> None:
    metrics = Metrics(training={"loss": [0.5]}, validation={"loss": [None]})
    positions = Positions({"sensors": "an-id", "more": "another"}, {("sensors", 0): 0, ("sensors", 11): 7, ("more", 1): 10**14})
    value = encode_reply(OffsetRange("w", 0, 4, 8), model_message(version=2), Trained(metrics, 400, positions))
    assert json.loads(value)["positions"] == {"sensors": ["an-id", {"0": 0, "11": 7}], "more": ["another", {"1": 10**14}]}
    assert parse_answer(value).positions == positions


@pytest.mark.parametrize(
    "positions",
    [
        None,
        3,
        [],
        "ab",
        {"t": 3},
        {"t": ["id"]},
        {"t": ["id", []]},
        {"t": ["id", {"x": 1}]},
        {"t": ["id", {"-1": 1}]},
        {"t": ["id", {"0": -1}]},
        {"t": ["id", {"0": 1.5}]},
        {"t": ["id", {"0": True}]},
        {"t": ["id", {"0": "1"}]},
    ],
)
def test_what_are_no_positions_are_none(positions: Any) -> None:
    answers = {"topic": "FED-dig1-model_data_topic:0:0:4", "topic_id": ""}
    answer = parse_answer(json.dumps({"version": 3, "answers": answers, "positions": positions}).encode())
    assert answer == Answer(3, answers, None)
    assert answer.is_to(model_message(version=2))
    assert answer.is_beside(model_message(version=7))


def test_a_reply_with_test_samples_has_a_test_entry() -> None:
    metrics = Metrics(training={"loss": [0.5]}, validation={"loss": [None]}, test={"loss": [0.7]})
    reply = json.loads(encode_reply(OffsetRange("t", 0, 0, 1), model_message(version=-1), Trained(metrics, 400)))
    assert reply["version"] == -1
    assert reply["metrics"]["test"] == {"loss": [0.7]}


WHOLE = json.dumps(model_json(version=4)).encode()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    max_leaves=6,
)


@given(
    st.binary()
    | st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end])
    | st.integers(0, len(WHOLE) - 1).flatmap(
        lambda at: st.integers(0, 255).map(lambda byte: WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
    )
)
def test_whatever_comes_is_a_message_or_an_error_of_one_line_that_ends_in_its_place(value: bytes) -> None:
    fault = fault_or_none(value)
    assert fault is None or (fault.endswith(f", at {PLACE}") and fault.isprintable())


@given(st.sampled_from(sorted(model_json())), JSON_VALUES)
def test_whatever_stands_in_a_field_is_understood_or_named(name: str, value: Any) -> None:
    fault = fault_or_none(json.dumps(model_json(**{name: value})).encode())
    assert fault is None or (fault.startswith((name, "message: expected JSON")) and fault.endswith(f", at {PLACE}"))


def test_a_message_of_the_greatest_size_takes_no_more_than_some_hundred_megabytes() -> None:
    """The worst of JSON is empty objects, of three bytes each here and of twenty times as many in Python."""
    empty = b"{}," * 1_600_000 + b"{}"
    with watch.memory() as taken:
        parse_model_message(
            json.dumps(model_json()).encode().replace(b'"kwargs_val": {}', b'"kwargs_val": {"x": [' + empty + b"]}"), PLACE
        )
    assert taken.peak_bytes < 300_000_000
