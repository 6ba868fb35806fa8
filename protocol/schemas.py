"""What a schema registry has under an id, and how records name it: Confluent's wire format.

A record's value, and its key, begin with a byte of 0 and a schema's id of 4 bytes, big-endian; a datum of that schema follows.
Source: Confluent's documentation of Schema Registry, "Wire format".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

HEADER_BYTES = 5
MAX_ID = 2**31 - 1
AVRO = "AVRO"


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as its registry has it.

    Attributes:
        kind: AVRO, JSON or PROTOBUF.
        text: of an Avro schema, JSON.
        references: texts of the schemas whose names it uses, each behind those that it uses itself.
    """

    kind: str
    text: str
    references: tuple[str, ...] = ()


class UnusableSchemaError(Exception):
    """A registry has answered, and there is no schema of this id, or none that may be used; the text says why."""


# The schema of an id. Raises UnusableSchemaError; and a WorkerError where the registry cannot be asked.
SchemaLookup: TypeAlias = Callable[[int], RegisteredSchema]
