"""Stream specs are read as the wire contract has them."""

import pytest

from protocol.stream_spec import StreamRange, parse_spec


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("mnist", [StreamRange("mnist")]),
        ("mnist:3", [StreamRange("mnist", 3)]),
        ("mnist:0:17", [StreamRange("mnist", 0, 17)]),
        ("mnist:0:0:70000", [StreamRange("mnist", 0, 0, 70000)]),
        ("digits:0:0:313,digits:1:0:852", [StreamRange("digits", 0, 0, 313), StreamRange("digits", 1, 0, 852)]),
        (" a:1:0:5 , b:0 ", [StreamRange("a", 1, 0, 5), StreamRange("b", 0)]),
        ("a:0:5:5", [StreamRange("a", 0, 5, 5)]),
        ("a:0:0:5,a:0:5:9", [StreamRange("a", 0, 0, 5), StreamRange("a", 0, 5, 9)]),
    ],
)
def test_a_spec_names_ranges(text: str, ranges: list[StreamRange]) -> None:
    assert list(parse_spec(text)) == ranges


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "'' is no name of a Kafka topic"),
        ("a,,b", "'' is no name of a Kafka topic"),
        ("..", "'..' is no name of a Kafka topic"),
        ("x" * 250, "is no name of a Kafka topic"),
        ("a:", "'a:' is not topic[:partition"),
        ("a:-1", "'a:-1' is not topic[:partition"),
        ("a:0:0:1:2", "'a:0:0:1:2' is not topic[:partition"),
        ("a:0:9:3", "'a:0:9:3' ends before it starts; the last number is the end offset, exclusive, not a length"),
        ("a:0:0:5,a:0:4:9", "a:0:0:5 and a:0:4:9 share records"),
        ("a,a:0:0:5", "a and a:0:0:5 share records"),
        ("a:0,a:0", "a:0 and a:0 share records"),
    ],
)
def test_a_spec_that_is_none_says_why(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_spec(text)
    assert fault in str(caught.value)
