"""Every way in which the worker can fail, with the exit status of each and whether starting it again can help.

    WorkerError
    ├── SettingsError     78  permanent  an environment variable is missing or wrong
    ├── DataError         65  permanent  the labelled stream does not hold what the settings say
    │   └── BadRecordError               one record of it cannot be decoded
    ├── ModelError        76  permanent  a model message, an architecture, compile arguments or weights cannot be used
    │   └── DivergedError                its fit ended in numbers that are none
    ├── SpaceLackError    71  passing    memory or disk are too small for the stream or the fit
    ├── FencedError       73  permanent  another process has taken this client's place
    ├── AccessError       77  permanent  a Kafka, a registry, a contract or its node do not let this client in, or do a thing
    ├── KafkaError        69  passing    a broker cannot be reached, or refuses
    ├── ChainError        69  passing    the chain's node cannot be reached, or refuses
    ├── RegistryError     69  passing    the schema registry cannot be reached, or refuses
    └── LimitError        75  passing    something that must be there did not come within its limit

    Stopped              143  passing    the process was told to stop (130 by Ctrl-C)

The numbers are those of sysexits.h, so that they say the same to whoever knows it. Status 0 is a federation taken part in to
its last round; 70 is a fault of the worker itself, with a traceback in the log. A restart meets a permanent fault again; one
that passes may be mended by then. docs/operators.md has the table, docs/operation.md what a Job makes of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

STATUS_DONE = os.EX_OK
STATUS_BUG = os.EX_SOFTWARE


class WorkerError(Exception):
    """A fault with a known cause; the text names the cause, the place and the remedy.

    Attributes:
        passes: whether starting the worker again can help, with nothing else changed.
    """

    status: int = STATUS_BUG
    passes: bool = False


class SettingsError(WorkerError):
    """The environment cannot be used. A restart meets the same; `faults` holds all of them, not the first."""

    status = os.EX_CONFIG

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class DataError(WorkerError):
    """The labelled stream is not what the settings promise. A restart meets the same."""

    status = os.EX_DATAERR


class BadRecordError(DataError):
    """One record cannot be decoded.

    Attributes:
        index: position of the record in its batch, from 0.
        reason: what is wrong, what was expected, without the place.
    """

    def __init__(self, place: str, index: int, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.index = index
        self.reason = reason


class ModelError(WorkerError):
    """What the cloud sent cannot be trained. A restart meets the same until the cloud sends another model."""

    status = os.EX_PROTOCOL


class DivergedError(ModelError):
    """A fit ended in NaN or infinity, which would spoil the average for every client."""


class SpaceLackError(WorkerError):
    """Memory or disk ran out. With less beside it, or more of it, a restart can help."""

    status = os.EX_OSERR
    passes = True


class FencedError(WorkerError):
    """Another process answers for this client. A restart would take the place back, and be fenced in turn."""

    status = os.EX_CANTCREAT


class AccessError(WorkerError):
    """A Kafka is there and says no: to a password, a token or a certificate, or to what its ACLs do not allow.

    So does the client where it must not trust the Kafka; so do a schema registry, a contract that refuses a wallet, and a
    chain that a wallet cannot pay. A restart meets the same until somebody changes a setting, an ACL, or what the wallet has.
    """

    status = os.EX_NOPERM


class KafkaError(WorkerError):
    """A broker cannot be reached or refuses. It may pass: a restart can help."""

    status = os.EX_UNAVAILABLE
    passes = True


class ChainError(WorkerError):
    """The node of the chain cannot be reached or refuses. It may pass: a restart can help."""

    status = os.EX_UNAVAILABLE
    passes = True


class RegistryError(WorkerError):
    """The schema registry cannot be reached or refuses. It may pass: a restart can help."""

    status = os.EX_UNAVAILABLE
    passes = True


class LimitError(WorkerError):
    """What must be there did not come within its limit. It may still come: a restart can help."""

    status = os.EX_TEMPFAIL
    passes = True


class Stopped(BaseException):
    """A signal asked the process to end. The round in hand is not answered; a restart does it again."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"told to stop by {number.name}; start the worker again to go on where it was")
        self.status = 128 + number
