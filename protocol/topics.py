"""The names that a federation's topics, groups and keys have, made from the federation's id and the client's."""

from __future__ import annotations

from dataclasses import dataclass

# The cloud creates its control topics with this max.message.bytes, and its weights topic with the other.
CONTROL_LIMIT_BYTES = 50_000
WEIGHTS_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Federation:
    """One client's view of a federation: every name that the wire contract derives from the two ids."""

    model_id: str
    client_id: str

    @property
    def model_control(self) -> str:
        return f"FED-{self.model_id}-model_control_topic"

    @property
    def model_data(self) -> str:
        return f"FED-{self.model_id}-model_data_topic"

    @property
    def reply_control(self) -> str:
        return f"FED-{self.model_id}-agg_control_topic"

    @property
    def cloud_topics(self) -> tuple[str, str, str]:
        """The topics that the cloud creates."""
        return self.model_control, self.model_data, self.reply_control

    @property
    def reply_data(self) -> str:
        return f"FED-{self.model_id}-agg_data_topic-{self.client_id}"

    @property
    def group(self) -> str:
        """Consumer group of the client, and in UTF-8 the key of its replies."""
        return f"FED-MODEL-{self.model_id}-CLIENT-{self.client_id}"

    @property
    def stream_group(self) -> str:
        """Consumer group that tells, on the edge, how far a moving stream has been trained on."""
        return f"{self.group}-2"
