"""BAD_RECORDS: which records of a stream are left out, and how many of them it may have."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import final

import watching
from decoders import Decoder
from protocol.errors import DataError
from protocol.records import BadRecord, RecordBatch, Samples
from watching import BadRecords

log = logging.getLogger(__name__)

MOST_TOLD = 10  # bad records that get a line of the log each


@final
class Sieve:
    """Decodes a bounded stream, and leaves out the records that cannot be decoded, as long as they are few.

    Args:
        most: no more records than this will come.
        limit: share of the records in [0, 1) that may be bad; None: the first bad one is an error.

    Attributes:
        bad: the records left out, in stream order.
    """

    def __init__(self, decoder: Decoder, most: int, limit: float | None) -> None:
        self.bad: list[BadRecord] = []
        self._decoder = decoder
        self._most = most
        self._limit = limit
        self._good = 0

    def samples(self, stream: Iterable[RecordBatch]) -> Iterator[Samples]:
        """Decode a stream, batch by batch.

        Raises:
            BadRecordError: a record cannot be decoded, and none may be left out.
            DataError: too many cannot; told as soon as the records still to come cannot make them few enough.
        """
        for batch in stream:
            if self._limit is None:
                yield self._decoder.decode(batch)
                continue
            samples = self._sift(batch)
            self._check(self._most)
            if samples is not None:
                yield samples
        if self.bad:
            read = self._good + len(self.bad)
            self._check(read)
            log.warning("bad records=%d of %d, BAD_RECORDS_LIMIT=%g", len(self.bad), read, self._limit)

    def _sift(self, batch: RecordBatch) -> Samples | None:
        sifted = self._decoder.sift(batch)
        self._good += len(batch) - len(sifted.bad)
        if sifted.bad:
            watching.tell(BadRecords(batch.topic, len(sifted.bad)))
        for index, reason in sifted.bad:
            one = BadRecord(batch.topic, batch.partition, batch.offsets[index], reason)
            self.bad.append(one)
            if len(self.bad) <= MOST_TOLD:
                log.warning("left out %s", one)
            elif len(self.bad) == MOST_TOLD + 1:
                log.warning("left out more than %d records: the others are counted, not told", MOST_TOLD)
        return sifted.samples

    def _check(self, total: int) -> None:
        bad, read = len(self.bad), self._good + len(self.bad)
        if self._limit is None or not bad or bad / total <= self._limit:
            return
        so_far = "" if read == total else f" read so far, of {total} at most,"
        raise DataError(
            f"{bad} of {read} records{so_far} cannot be decoded, and BAD_RECORDS_LIMIT={self._limit:g} of them may; the first: "
            f"{self.bad[0]}; {self._remedy()}"
        )

    def _remedy(self) -> str:
        decoder = self._decoder
        if decoder.settled_by is not None and decoder.open_keys and len(self.bad) > self._good:
            return (
                f"most are unlike {decoder.settled_by}, the first good one, which settled what INPUT_CONFIG leaves open: where "
                f"that is the odd one, give {' or '.join(decoder.open_keys)}"
            )
        return "mend INPUT_FORMAT and INPUT_CONFIG, or what writes the stream, or raise the limit"
