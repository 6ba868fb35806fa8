"""CASE 5, the worker as a process: rounds from a contract on a real EVM, replies to a real Kafka and to the contract."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from demo.chain import chain
from demo.errors import NoReplyError
from demo.evaluator import Evaluator
from protocol.architecture import Dialect
from tests.integration.conftest import Federation, announced
from tests.support.worker import WorkerProcess


def environment_of(federation: Federation, evaluator: Evaluator, **changes: str) -> dict[str, str]:
    return federation.environment(
        federation.write(),
        CASE="5",
        ETH_CONTRACT_ADDRESS=evaluator.address.lower(),
        ETH_CONTRACT_ABI=evaluator.abi,
        ETH_POLL_S="0.2",
        **changes,
    )


def kill(federation: Federation, worker: WorkerProcess) -> None:
    federation.forget(worker)
    worker.send(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL


def test_a_federation_on_a_chain_is_taken_part_in_until_its_training_ends(federation: Federation) -> None:
    with chain() as node:
        federation.cloud.create_topics()
        evaluator = Evaluator(node.url, federation.cloud, announced(epochs=2), meanwhile=federation.check)
        wallet = list(node.wallets())[1]
        worker = federation.start(environment_of(federation, evaluator, ETH_RPC_URL=node.url, ETH_WALLET_ADDRESS=wallet))
        rounds = list(evaluator.run(rounds=2, clients=1))
        assert worker.wait() == 0
        assert "signs=node" in worker.log
        assert [[reply.version for reply in one.replies] for one in rounds] == [[2], [3]]
        [first], [last] = rounds[0].replies, rounds[1].replies
        assert first.client == wallet
        assert last.metrics["training"]["loss"][-1] < first.metrics["training"]["loss"][0]
        assert "federation done rounds=2" in worker.log


def test_a_worker_killed_at_every_point_of_a_round_answers_each_once(federation: Federation) -> None:
    with chain() as node:
        federation.cloud.create_topics()
        model = announced(dialect=Dialect.KERAS_2, epochs=3)
        evaluator = Evaluator(node.url, federation.cloud, model, meanwhile=federation.check)
        wallet, key = list(node.wallets().items())[1]
        url = f"{node.url}/v3/key-7"
        environment = environment_of(
            federation, evaluator, ETH_RPC_URL=url, ETH_WALLET_ADDRESS=wallet.lower(), ETH_WALLET_KEY=key
        )

        node.away = {"eth_sendRawTransaction"}
        after_its_reply = federation.start(environment, "after-its-reply")
        after_its_reply.await_line("waiting for the next round of contract ")  # which is there, and not begun
        first = evaluator.publish(model.arrays)
        line = after_its_reply.await_line("contribution failed attempt=1 of=6 again_in_s=2: ")
        assert "HTTP 503 Service Unavailable" in line
        kill(federation, after_its_reply)
        [on_kafka] = federation.cloud.collect(first, clients=1)
        assert evaluator.contributions(first) == []

        node.away.clear()
        after_sending = federation.start(environment, "after-sending")
        [contributed] = evaluator.collect(first, clients=1)
        assert (contributed.client, contributed.where, contributed.metrics) == (wallet, on_kafka.where, on_kafka.metrics)
        assert contributed.num_data == 400
        assert "epoch 1/3" not in after_sending.log
        second = evaluator.publish(contributed.arrays)
        node.hold()
        [on_kafka] = federation.cloud.collect(second, clients=1)
        after_sending.await_line(f"contribution sent spec={on_kafka.where[0]} ")
        kill(federation, after_sending)
        assert evaluator.contributions(second) == []

        last = federation.start(environment | {"LOG_LEVEL": "DEBUG"}, "last")
        last.await_line(f"waiting for the receipts of what wallet {wallet} has sent")
        node.release()
        last.await_line("contribution found on the chain spec=")
        [again] = evaluator.collect(second, clients=1)
        assert again.where == on_kafka.where
        third = evaluator.publish(again.arrays)
        [reply] = evaluator.collect(third, clients=1)
        evaluator.finish()
        assert last.wait() == 0

        # Each round is on the chain once, and on Kafka once, all three of them trained from the one before.
        assert [len(evaluator.contributions(number)) for number in (first, second, third)] == [1, 1, 1]
        assert federation.cloud.collect(third, clients=1)[0].where == reply.where
        with pytest.raises(NoReplyError):
            federation.cloud.collect(third, clients=1, limit_s=0.5)
        assert reply.metrics["training"]["loss"][-1] < contributed.metrics["training"]["loss"][0]
        assert not np.array_equal(reply.arrays[0], again.arrays[0])
        assert "federation done rounds=1" in last.log
        assert not any(secret in last.log for secret in ("key-7", key[2:]))
