"""Every way in which the other side can fail.

DemoError
├── BrokerError         the broker did not start
├── PeerError           Kafka refuses what a cloud or a device wants, or a reply breaks the contract
│   └── NoReplyError    the replies of a round did not come within their limit
├── WorkerDiedError     a worker ended before its time
└── PictureError        the picture of the rounds cannot be written
"""

from __future__ import annotations


class DemoError(Exception):
    """The text says what failed, where, and where possible what to do."""


class BrokerError(DemoError):
    """The broker did not start; the text holds the end of its log."""


class PeerError(DemoError):
    """Kafka refuses, or what a worker sent breaks the contract."""


class NoReplyError(PeerError):
    """The replies of a round did not come within their limit."""


class WorkerDiedError(DemoError):
    """A worker ended before its time.

    Attributes:
        status: its exit status; minus the signal's number where one ended it.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class PictureError(DemoError):
    """The picture of the rounds cannot be written."""
