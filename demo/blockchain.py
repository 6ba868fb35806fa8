"""Single classic training on a blockchain (CASE 5): two devices, two workers, and a smart contract for rounds and replies.

All else is as in `demo.classic`. The chain is a real EVM behind JSON-RPC, the contract demo/federation.vy. One worker signs
with its wallet's key, for the other the node does.
"""

from __future__ import annotations

from demo.chain import chain
from demo.classic import (
    ROUNDS,
    TRAINING_SETTINGS,
    VALIDATION_RATE,
    outcome,
    write_digits,
)
from demo.course import Course
from demo.datasets import split_digits
from demo.evaluator import Evaluator
from demo.models import digits_model
from demo.stage import HEAD, ROW, Outcome, held_out_accuracy, say, stage, table_rows


def run(dialect: str) -> Outcome:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    digits = split_digits()
    with stage() as here, chain() as node:
        model = digits_model(dialect)
        announced = here.announced(model, dialect, TRAINING_SETTINGS, ROUNDS)
        evaluator = Evaluator(node.url, here.cloud, announced, meanwhile=here.workers.check)
        say(f"chain listens on {node.url}, contract {evaluator.address}")
        wallets = list(node.wallets().items())[1:]  # the first is the evaluator's
        names = {}
        for at, (name, stream) in enumerate(write_digits(here, digits).items()):
            wallet, key = wallets[at]
            names[wallet] = name
            here.start_worker(
                name,
                stream,
                validation_rate=VALIDATION_RATE,
                CASE="5",
                ETH_RPC_URL=node.url,
                ETH_CONTRACT_ADDRESS=evaluator.address,
                ETH_CONTRACT_ABI=evaluator.abi,
                ETH_WALLET_ADDRESS=wallet,
                ETH_POLL_S="0.5",
                **({} if at else {"ETH_WALLET_KEY": key}),
            )
        print(ROW.format(*HEAD))
        accuracy, course = 0.0, Course()
        for one in evaluator.run(rounds=ROUNDS, clients=len(names)):
            accuracy = held_out_accuracy(model, one.arrays, digits.held_out, digits.held_out_labels)
            print("\n".join(table_rows(one.version, one, names, accuracy)), flush=True)
            course.add(one.version, one.replies, names)
            course.note(one.version, accuracy)
        here.end()
    return outcome(accuracy, course, f", in {ROUNDS} rounds on a chain")
