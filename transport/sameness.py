"""Topics that must stay the ones they are while they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from protocol.errors import DataError, LimitError
from transport.interfaces import Topics


@contextlib.contextmanager
def same_topics(topics: Topics, names: Iterable[str]) -> Iterator[None]:
    """Compare the ids of topics before and after.

    Both Kafka clients go on at their old offset in a topic that is deleted and made again, and mix the two.

    Raises:
        DataError: one of them is not the same any more. Comes in place of what was met in it meanwhile.
    """
    before = {name: topics.topic_id(name) for name in names}

    def check() -> None:
        for name, topic_id in before.items():
            now = topics.topic_id(name)
            if now != topic_id:
                what = "deleted" if now is None else "deleted and made anew"
                raise DataError(
                    f"topic {name} was {what} while it was read, so what was read of it is in doubt: let the device write the "
                    "stream again, announce it again, and leave the topic alone while a worker reads it"
                )

    try:
        yield
    except (DataError, LimitError):
        check()
        raise
    check()
