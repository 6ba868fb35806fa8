"""The decoded stream, kept once for all rounds: in memory up to a limit, beyond it in a file that is mapped into memory."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Self, final

import numpy as np

from protocol.errors import SpaceLackError
from protocol.records import Array, Samples

log = logging.getLogger(__name__)

_COPY_BYTES = 2**20
_TEXT_OVERHEAD_BYTES = 81  # of a Python bytes object, its place in an array, and that of the copy which TensorFlow makes


@dataclass(frozen=True, slots=True)
class Kept:
    """A stream that stands in memory or in a mapped file.

    Attributes:
        samples: the whole stream. Numbers begin at a page's border, so that TensorFlow takes them as they lie.
        maps: the mapped files; none where all is in memory.
        memory_bytes: what it takes in memory.
    """

    samples: Samples
    maps: tuple[mmap.mmap, ...] = ()
    memory_bytes: int = 0

    def __len__(self) -> int:
        return len(self.samples)

    def release(self) -> None:
        """Give back the pages of the files that reading has brought into this process; the next read brings them again.

        Without it everything that an epoch passes over would count as this process's memory.
        """
        for one in self.maps:
            one.madvise(mmap.MADV_DONTNEED)


@final
class Store:
    """Takes decoded samples one batch after the other. What is finished outlives it.

    Args:
        most: no more samples than this will come, of which the log tells what disk they need.
        memory_bytes: what features and labels may take in memory, together.
        folder: where they go once they are more. Its file has no name, and is gone with the process, however that ends.
    """

    def __init__(self, most: int, memory_bytes: int, folder: Path) -> None:
        self._most = most
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._columns: tuple[_Column, ...] = ()
        self._is_spilled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        for column in self._columns:
            column.close()

    def add(self, samples: Samples) -> None:
        """Keep samples, with the dtypes and shapes of those before.

        Raises:
            SpaceLackError: memory or disk are full.
        """
        parts = (samples.features, samples.labels)
        if not self._columns:
            self._columns = tuple(map(self._column, parts))
        if not self._is_spilled and self._bytes(parts) > self._memory_bytes:
            self._spill(parts)
        for column, part in zip(self._columns, parts, strict=True):
            with _told(self._folder, self._is_spilled):
                column.add(part)

    def finish(self) -> Kept:
        """What was added; nothing can be added any more."""
        with _told(self._folder, self._is_spilled):
            features, labels = (column.finish() for column in self._columns)
        maps = [column.map for column in self._columns if isinstance(column, _Numbers) and column.map is not None]
        samples = Samples(features, labels)
        return Kept(samples, tuple(maps)) if self._is_spilled else Kept(samples, (), sum(one.bytes for one in self._columns))

    def __len__(self) -> int:
        return self._columns[0].count if self._columns else 0

    def _column(self, first: Array) -> _Column:
        return _Texts() if first.dtype == object else _Numbers(first)

    def _bytes(self, parts: tuple[Array, ...]) -> int:
        return sum(column.bytes + column.size(part) for column, part in zip(self._columns, parts, strict=True))

    def _spill(self, parts: tuple[Array, ...]) -> None:
        if any(isinstance(column, _Texts) for column in self._columns):
            raise SpaceLackError(
                f"the stream's text takes more than DATA_MEMORY_LIMIT, {self._memory_bytes} bytes, and text cannot be kept on "
                "disk: raise the limit, or send a shorter stream"
            )
        log.info(
            "stream takes more than DATA_MEMORY_LIMIT bytes=%d, so it is kept in DATA_SPILL_FOLDER=%s expected_bytes=%d "
            "free_bytes=%s",
            self._memory_bytes,
            self._folder,
            sum(self._most * _row_bytes(part) for part in parts),
            _free_bytes(self._folder),
        )
        self._is_spilled = True
        with _told(self._folder, self._is_spilled):
            for column in self._columns:
                column.spill(self._folder)


@final
class _Numbers:
    """Rows of one dtype and shape, end to end: in a file of memory, then in one on disk.

    What is written to a file takes its pages as it comes, unlike memory that is asked for: the kernel neither clears them
    first nor has to be called for each by a fault.
    """

    def __init__(self, first: Array) -> None:
        self._dtype = first.dtype
        self._shape = first.shape[1:]
        self._row_bytes = _row_bytes(first)
        self._file: IO[bytes] = os.fdopen(os.memfd_create("stream"), "w+b", buffering=0)
        self.count = 0
        self.map: mmap.mmap | None = None

    @property
    def bytes(self) -> int:
        return self.count * self._row_bytes

    def size(self, part: Array) -> int:
        return part.nbytes

    def add(self, part: Array) -> None:
        self._write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        self.count += len(part)

    def spill(self, folder: Path) -> None:
        with self._file as memory:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it lives on as the map
            memory.seek(0)
            while chunk := memory.read(_COPY_BYTES):
                self._write(memoryview(chunk))

    def _write(self, left: memoryview) -> None:
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        self._file.close()

    def finish(self) -> Array:
        if not self.bytes:
            self._file.close()
            return np.empty((self.count, *self._shape), self._dtype)  # no numbers, no file to map
        with self._file as file:
            # TensorFlow takes memory that can be written to alone; nothing writes. Shared, it is the file's, and no copy.
            self.map = mmap.mmap(file.fileno(), self.bytes, access=mmap.ACCESS_WRITE)
        return np.ndarray((self.count, *self._shape), self._dtype, buffer=self.map)


@final
class _Texts:
    """Rows of text, which numpy has as Python objects."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self.count = 0
        self.bytes = 0

    def size(self, part: Array) -> int:
        return sum(2 * len(text) + _TEXT_OVERHEAD_BYTES for text in part.flat)

    def add(self, part: Array) -> None:
        self._parts.append(part)
        self.count += len(part)
        self.bytes += self.size(part)

    def spill(self, folder: Path) -> None:
        raise NotImplementedError(folder)

    def close(self) -> None:
        self._parts.clear()

    def finish(self) -> Array:
        return np.concatenate(self._parts)


_Column = _Numbers | _Texts


def _free_bytes(folder: Path) -> int | str:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # the folder is gone; what is to be told is more than this
        return "unknown"


def _row_bytes(part: Array) -> int:
    return int(part.itemsize * prod(part.shape[1:]))


@contextlib.contextmanager
def _told(folder: Path, is_spilled: bool) -> Iterator[None]:  # noqa: FBT001 - which of the two can be full
    try:
        yield
    except OSError as exc:
        where = (
            f"DATA_SPILL_FOLDER={folder} takes no more of the stream ({exc.strerror}), "
            f"free_bytes={_free_bytes(folder)}: give it more space, name another folder, or raise DATA_MEMORY_LIMIT"
            if is_spilled
            else f"no memory for the stream ({exc.strerror}): give the pod more, or lower DATA_MEMORY_LIMIT"
        )
        raise SpaceLackError(where) from exc
