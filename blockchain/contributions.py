"""Contributions that get through, or are told why not: tried again with longer and longer pauses, and made once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import final

from blockchain.node import UncertainError
from blockchain.wallet import Contribution, ContributionError, Wallet
from protocol.errors import LimitError
from protocol.messages import OwnReply
from transport.patience import pause

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0


@final
class Contributions:
    """Tells a contract of replies.

    A contribution is on the chain once, whatever ends a worker when: before it is made a second time, be that in another try or
    in another life, the wallet's transactions since its reply are looked through.

    Args:
        attempts: how often one is tried.
        pause_s: before the second try; each one after it is twice as long.
    """

    def __init__(self, wallet: Wallet, attempts: int, pause_s: float) -> None:
        self._wallet = wallet
        self._attempts = attempts
        self._pause_s = pause_s

    def mined(self) -> int:
        """How many transactions of the wallet the chain has; to be asked before a reply, which then tells it."""
        return self._wallet.mined()

    def make(self, reply: OwnReply, stands: Callable[[], bool], *, may_be_made: bool = False) -> bool:
        """Contribute a reply that stands on Kafka.

        Args:
            stands: whether the round that it answers still goes on; one that does not is not worth another try.
            may_be_made: whether a former life may have made it.

        Returns:
            Whether it is made, now or by a former life; else its round is over.

        Raises:
            WorkerError: of the last try.
        """
        contribution = Contribution(reply.spec, json.dumps(reply.metrics), reply.num_data, reply.mined)
        pause_s = self._pause_s
        for attempt in range(1, self._attempts + 1):
            try:
                if (may_be_made or attempt > 1) and self._wallet.has_sent(contribution):
                    log.info("contribution found on the chain spec=%s", contribution.spec)
                    return True
                self._wallet.send(contribution)
            except (ContributionError, UncertainError, LimitError) as exc:
                if not stands():
                    log.warning("contribution dropped, its round is over: %s", exc)
                    return False
                if attempt == self._attempts:
                    raise
                log.warning("contribution failed attempt=%d of=%d again_in_s=%g: %s", attempt, self._attempts, pause_s, exc)
                pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                return True
        raise AssertionError("a loop of at least one attempt")
