"""What the demo's cloud says, hears and averages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from demo.errors import PeerError
from demo.rounds import Reply, federated_average, following, parse_reply
from protocol.records import Array
from protocol.stream_spec import StreamRange

KEY = b"FED-MODEL-m-CLIENT-c1"
PLACE = "FED-m-agg_control_topic[0]@3"


def reply(num_data: int, *arrays: Array, client: str = "a") -> Reply:
    return Reply(client, 1, {}, num_data, (), arrays)


def averaged(replies: list[Reply]) -> Sequence[Array]:
    return federated_average(replies, [])


def content(**changed: Any) -> bytes:
    good = {
        "topic": "FED-m-agg_data_topic-c1:0:4:8",
        "version": 1,
        "metrics": {"training": {"loss": [2.0, 1.0]}, "validation": {"loss": [3.0, 2.5]}},
        "num_data": 400,
    }
    return json.dumps(good | changed).encode()


def test_the_average_weighs_each_client_by_its_samples() -> None:
    one = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    other = np.array([[4.0, 1.0], [6.0, 0.0]], np.float32)
    [mean] = averaged([reply(300, one), reply(100, other)])
    assert np.array_equal(mean, np.array([[1.0, 1.0], [3.0, 3.0]]))
    assert mean.dtype == np.float32


def test_the_average_of_random_arrays_is_numpys_weighted_average() -> None:
    random = np.random.default_rng(3)
    samples = [7, 100, 53]
    arrays = [random.normal(size=(5, 4)) for _ in samples]
    [mean] = averaged([reply(count, array) for count, array in zip(samples, arrays, strict=True)])
    np.testing.assert_allclose(mean, np.average(np.stack(arrays), axis=0, weights=samples), rtol=1e-15)


def test_every_array_of_a_model_is_averaged_with_its_like() -> None:
    mean = averaged([reply(1, np.zeros(2), np.full((1, 3), 2.0)), reply(1, np.ones(2), np.full((1, 3), 4.0))])
    assert [array.tolist() for array in mean] == [[0.5, 0.5], [[3.0, 3.0, 3.0]]]


def test_one_client_alone_gets_its_arrays_back() -> None:
    array = np.array([0.1, -1e-30, 3e38], np.float32)
    [mean] = averaged([reply(3, array)])
    assert np.array_equal(mean, array)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_whole_numbers_are_rounded_and_keep_their_type(dtype: type[np.integer[Any]]) -> None:
    [mean] = averaged([reply(2, np.array([1, 10], dtype)), reply(1, np.array([3, 11], dtype))])
    assert (mean.tolist(), mean.dtype) == ([2, 10], np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_are_summed_in_float64(dtype: Any) -> None:
    # 60000 twice is beyond float16, and 257 halved twice is no bfloat16 on the way.
    [mean] = averaged([reply(1, np.array([60000.0, 256.0], dtype)), reply(1, np.array([60000.0, 258.0], dtype))])
    assert mean.dtype == np.dtype(dtype)
    assert np.array_equal(mean, np.array([60000.0, 257.0]).astype(dtype))


def test_an_array_without_axes_stays_one() -> None:
    [mean] = averaged([reply(1, np.array(1.0)), reply(3, np.array(5.0))])
    assert (mean.shape, float(mean)) == ((), 4.0)


def test_clients_with_other_shapes_are_named() -> None:
    with pytest.raises(PeerError, match=r"array 1: a sent \(3,\) float64, b \(4,\) float64"):
        averaged([reply(1, np.zeros(2), np.zeros(3)), reply(1, np.zeros(2), np.zeros(4), client="b")])


def test_clients_with_another_number_of_arrays_are_named() -> None:
    with pytest.raises(PeerError, match="a sent 1 arrays, b 2"):
        averaged([reply(1, np.zeros(2)), reply(1, np.zeros(2), np.zeros(2), client="b")])


@pytest.mark.parametrize("array", [np.full(2, np.nan, np.float32), np.zeros(3), np.full(2, 9.0)])
def test_a_client_without_data_has_no_part_in_the_average(array: Array) -> None:
    one, other = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)
    [mean] = averaged([reply(1, one), reply(0, array, client="b"), reply(1, other, client="c")])
    assert mean.tolist() == [2.0, 3.0]


def test_where_no_client_has_data_the_model_stays_as_it_was() -> None:
    array = np.array([1.0, 2.0], np.float32)
    [kept] = federated_average([reply(0, np.full(2, np.nan)), reply(0, np.zeros(2), client="b")], [array])
    assert kept is array


def test_a_reply_has_the_version_after_the_models() -> None:
    assert [following(0), following(4), following(-1)] == [1, 5, -1]


def test_a_reply_of_the_contract_is_read() -> None:
    read = parse_reply(KEY, content(), PLACE)
    assert read.client == "FED-MODEL-m-CLIENT-c1"
    assert (read.version, read.num_data) == (1, 400)
    assert read.where == (StreamRange("FED-m-agg_data_topic-c1", 0, 4, 8),)
    assert read.metrics["validation"]["loss"] == [3.0, 2.5]


@pytest.mark.parametrize(
    "validation", [{}, {"accuracy": [1.0]}, {"loss": []}], ids=["no metric", "another metric", "no number"]
)
def test_a_training_metric_without_a_twin_under_validation_is_refused(validation: dict[str, list[float]]) -> None:
    metrics = {"training": {"loss": [1.0]}, "validation": validation}
    with pytest.raises(PeerError, match=r"agg_control_topic\[0\]@3: no number under training or under validation for loss"):
        parse_reply(KEY, content(metrics=metrics), PLACE)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00",
        b"[]",
        b"null",
        content(topic="no:such:spec"),
        content(topic=7),
        content(metrics=[]),
        content(version="1"),
        content(version=True),
        content(num_data=None),
        content(num_data=-1),
        content().replace(b"2.5", b"NaN"),
    ],
)
def test_what_is_no_reply_is_refused_with_its_place(value: bytes | None) -> None:
    with pytest.raises(PeerError, match=r"agg_control_topic\[0\]@3"):
        parse_reply(KEY, value, PLACE)


def test_a_reply_without_a_key_is_refused() -> None:
    with pytest.raises(PeerError, match="a reply's key is its client's group"):
        parse_reply(None, content(), PLACE)
