"""How a federation went, round by round: what the demo's picture shows. Pure: no Kafka, no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.rounds import Reply

GLOBAL = "global model"

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A client's reply to a round: its number of samples, and each metric after the last epoch; None where there is none."""

    round: int
    client: str
    samples: int
    training: Numbers
    validation: Numbers


@dataclass(slots=True)
class Course:
    """What clients answered, and what the global models were worth on data that no worker saw.

    Attributes:
        answers: by rounds, in each by clients' names.
        held_out: of a metric, of a model's name, its value after each round.
    """

    answers: list[Answer] = field(default_factory=list)
    held_out: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)

    def add(self, number: int, replies: Sequence[Reply], names: Mapping[str, str]) -> None:
        """Note what clients answered to a round.

        Args:
            names: of clients, by their groups.
        """
        answers = [
            Answer(
                number,
                names.get(reply.client, reply.client),
                reply.num_data,
                *(
                    {name: values[-1] for name, values in reply.metrics[part].items() if values}
                    for part in ("training", "validation")
                ),
            )
            for reply in replies
        ]
        self.answers += sorted(answers, key=lambda answer: answer.client)

    def note(self, number: int, value: float, metric: str = "accuracy", model: str = GLOBAL) -> None:
        """Note what a global model was worth after a round."""
        self.held_out.setdefault(metric, {}).setdefault(model, {})[number] = value

    @property
    def clients(self) -> list[str]:
        """Names, in order."""
        return sorted({answer.client for answer in self.answers})

    @property
    def metrics(self) -> list[str]:
        """Accuracies in front of losses; of a model with several outputs, those of each output."""
        names = list(dict.fromkeys(name for answer in self.answers for name in answer.training))
        several = [name for name in names if name.endswith(("_accuracy", "_loss"))]
        return sorted(
            several or [name for name in names if name in {"accuracy", "loss"}], key=lambda name: name.endswith("loss")
        )

    def line(self, client: str, metric: str, part: str) -> tuple[list[int], list[float]]:
        """Rounds and values of a client's metric, where there is one.

        Args:
            part: training or validation.
        """
        pairs = [(one.round, getattr(one, part).get(metric)) for one in self.answers if one.client == client]
        there = [(number, value) for number, value in pairs if value is not None]
        return [number for number, _ in there], [value for _, value in there]
