"""The variables in words: what each means, in a line. docs/operators.md has the same table, with more words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from clusters import BOOTSTRAP, MECHANISMS, PROTOCOLS, REGISTRY
from config import (
    BLOCKCHAIN,
    CLOUD,
    DEFAULT_ANSWER_LIMIT_S,
    DEFAULT_BAD_RECORDS_LIMIT,
    DEFAULT_LOAD_LIMIT_S,
    DEFAULT_ROUND_LIMIT_S,
    DEFAULT_TRANSACTION_LIMIT_S,
    DEFAULT_WAIT_LIMIT_S,
    DEFAULT_WINDOW_LIMIT_S,
    DEFAULT_WINDOW_RECORDS,
    DELIVERIES,
    EDGE,
    FAIL,
    KIND_NAMES,
    LOG_LEVELS,
    MACHINE_NAME,
)
from decoders import DECODERS
from observing.settings import LOG_FORMATS
from protocol.words import shown
from transport.clients import READ_UNCOMMITTED
from variables import FILE, TERMINATION_LOG, Environment, is_path

MOST_SHOWN = 100  # characters of a value
COLUMN = 24  # characters; behind a longer value the meaning begins on a line of its own
NEEDED = "needed"
HIDDEN = "set, not shown"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable.

    Attributes:
        default: as docs/operators.md has it; "" where the worker needs the variable.
        is_secret: its value is not for others' eyes.
        may_be_file: a variable with FILE at the end of its name may name a file that holds its value.
    """

    name: str
    default: str
    meaning: str
    is_secret: bool = False
    may_be_file: bool = False
    only_for: int | None = None  # CASE

    def is_needed(self, env: Environment) -> bool:
        """Whether the worker cannot do without."""
        return not self.default and (self.only_for is None or env.text("CASE") == str(self.only_for))


_of_chain = partial(Variable, only_for=BLOCKCHAIN)

VARIABLES = (
    Variable(CLOUD + BOOTSTRAP, "", "host:port of the cloud's brokers, comma-separated"),
    Variable(EDGE + BOOTSTRAP, "", "host:port of the edge's brokers, comma-separated"),
    Variable("DATA_TOPIC", "", "the labelled stream: topic[:partition[:offset[:end]]], comma-separated"),
    Variable("INPUT_FORMAT", "", f"how records are written: {', '.join(DECODERS)}"),
    Variable("INPUT_CONFIG", "", "JSON object that says how to read a record"),
    Variable(REGISTRY + "URL", "none", "addresses of the schema registry, comma-separated"),
    Variable("VALIDATION_RATE", "", "share of the stream to validate with, in [0, 1)"),
    Variable("TEST_RATE", "0", "share of the stream, at its end, to test the trained model on, in [0, 1)"),
    Variable("TOTAL_MSG", "", "records of the stream; None for one without end"),
    Variable("FEDERATED_MODEL_ID", "", "the federation's id"),
    Variable("FEDERATED_CLIENT_ID", f"HOSTNAME, else {MACHINE_NAME}", "this client's id"),
    Variable("UNSUPERVISED_TOPIC", "none", "an unlabelled stream beside the labelled one, as DATA_TOPIC has it"),
    Variable("CASE", "1", f"kind of training: {', '.join(f'{number} {KIND_NAMES[number]}' for number in KIND_NAMES)}"),
    Variable(
        "WAIT_LIMIT_S", f"{DEFAULT_WAIT_LIMIT_S:.0f}, a week", "longest wait, in seconds, for what may come later; or none"
    ),
    Variable("ANSWER_LIMIT_S", f"{DEFAULT_ANSWER_LIMIT_S:g}", "longest wait, in seconds, for what must be there"),
    Variable("LOAD_LIMIT_S", f"{DEFAULT_LOAD_LIMIT_S:g}", "longest wait, in seconds, for TensorFlow to load"),
    Variable("DELIVERY", DELIVERIES[0], f"how a reply is sent: {', '.join(DELIVERIES)}"),
    Variable("CLOUD_ISOLATION", READ_UNCOMMITTED, "how the cloud reads replies: read_uncommitted, read_committed"),
    Variable("TRANSACTION_LIMIT_S", f"{DEFAULT_TRANSACTION_LIMIT_S:g}", "longest time, in seconds, to send a reply in"),
    Variable("BAD_RECORDS", FAIL, "what becomes of a record that cannot be decoded: fail, skip, or the topic it goes to"),
    Variable("BAD_RECORDS_LIMIT", f"{DEFAULT_BAD_RECORDS_LIMIT:g}", "share of the stream that may be such records, in [0, 1)"),
    Variable("WINDOW_RECORDS", f"{DEFAULT_WINDOW_RECORDS}", "records of a window of a moving stream, at most"),
    Variable("WINDOW_LIMIT_S", f"{DEFAULT_WINDOW_LIMIT_S:g}", "how long, in seconds, a window waits for more"),
    Variable("ROUND_WINDOWS", "none", "windows of a round, at most"),
    Variable("ROUND_LIMIT_S", f"{DEFAULT_ROUND_LIMIT_S:g}", "how long, in seconds, a round takes new records"),
    Variable("NON_FINITE", FAIL, "what becomes of a fit that diverged: fail, return"),
    Variable("DATA_MEMORY_LIMIT", "50%", "what the decoded stream may take in memory: bytes such as 2Gi, or a share"),
    Variable("DATA_SPILL_FOLDER", "TMPDIR, else /tmp", "where a longer stream is kept"),
    _of_chain("ETH_RPC_URL", "", "address of a node's JSON-RPC over HTTP", is_secret=True, may_be_file=True),
    _of_chain("ETH_CONTRACT_ADDRESS", "", "the federation's contract"),
    _of_chain("ETH_CONTRACT_ABI", "", "its ABI, as JSON"),
    _of_chain("ETH_WALLET_ADDRESS", "", "this client's wallet"),
    _of_chain("ETH_WALLET_KEY", "none", "its private key, in hex; without it the node signs", is_secret=True, may_be_file=True),
    _of_chain("ETH_POLL_S", "2", "seconds between two looks at the contract"),
    _of_chain("ETH_RECEIPT_LIMIT_S", "300", "longest wait, in seconds, for a transaction to be mined"),
    _of_chain("ETH_ATTEMPTS", "6", "how often a contribution is tried"),
    _of_chain("ETH_BACKOFF_S", "2", "seconds before its second try; each one after that waits twice as long"),
    Variable("ALLOW_MODEL_CODE", "false", "true lets the cloud's models carry code, as Lambda layers do"),
    Variable("LIVENESS_FILE", "none", "file whose modification time shows a liveness probe that the worker gets on"),
    Variable("TERMINATION_LOG", f"{TERMINATION_LOG}, where it is there", "file for why the worker ended"),
    Variable("LOG_LEVEL", "INFO", ", ".join(LOG_LEVELS)),
    Variable("LOG_FORMAT", LOG_FORMATS[0], f"how a line of the log is written: {', '.join(LOG_FORMATS)}"),
    Variable("METRICS_PORT", "none", "port on which Prometheus finds the worker's metrics"),
    Variable("TENSORBOARD_LOG_DIR", "none", "folder for TensorBoard"),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "address of an OpenTelemetry collector, for traces"),
    Variable("MLFLOW_TRACKING_URI", "none", "address of an MLflow server"),
    Variable("MLFLOW_EXPERIMENT_NAME", "FED-M", "its experiment that the run belongs to"),
)

# Each is there for both clusters, with CLOUD and with EDGE before its name.
SECURITY = (
    Variable("SECURITY_PROTOCOL", PROTOCOLS[0], ", ".join(PROTOCOLS)),
    Variable("SASL_MECHANISM", "", ", ".join(MECHANISMS)),
    Variable("SASL_USERNAME", "", "for PLAIN and SCRAM", may_be_file=True),
    Variable("SASL_PASSWORD", "", "for PLAIN and SCRAM", is_secret=True, may_be_file=True),
    Variable("SASL_TOKEN", "", "for OAUTHBEARER: the token", is_secret=True, may_be_file=True),
    Variable("SASL_TOKEN_URL", "", "for OAUTHBEARER: an endpoint that gives tokens"),
    Variable("SASL_CLIENT_ID", "", "this client's id at that endpoint", may_be_file=True),
    Variable("SASL_CLIENT_SECRET", "", "this client's secret at that endpoint", is_secret=True, may_be_file=True),
    Variable("SASL_SCOPE", "none", "what such a token is asked for"),
    Variable("SSL_CA", "the system's", "PEM of the authorities that brokers' certificates are from", may_be_file=True),
    Variable("SSL_CERTIFICATE", "none", "PEM of the client's own certificate", may_be_file=True),
    Variable("SSL_KEY", "none", "PEM of its key", is_secret=True, may_be_file=True),
    Variable("SSL_KEY_PASSWORD", "none", "of the key, where it is encrypted", is_secret=True, may_be_file=True),
)
# With REGISTRY before its name.
OF_REGISTRY = (
    Variable("USERNAME", "none", "for HTTP's basic authentication", may_be_file=True),
    Variable("PASSWORD", "none", "for HTTP's basic authentication", is_secret=True, may_be_file=True),
    Variable("SSL_CA", "the system's", "PEM of the authorities that its certificate is from", may_be_file=True),
    *(one for one in SECURITY if one.name in ("SSL_CERTIFICATE", "SSL_KEY", "SSL_KEY_PASSWORD")),
)
_HAS_USER = re.compile(r"//[^/]*@")


def known() -> Iterator[str]:
    """The names of all variables that a worker may read."""
    for prefix, variables in (("", VARIABLES), (CLOUD, SECURITY), (EDGE, SECURITY), (REGISTRY, OF_REGISTRY)):
        for one in variables:
            yield prefix + one.name
            if one.may_be_file:
                yield prefix + one.name + FILE


def table(env: Environment, width: int) -> Iterator[str]:
    """The lines of a table of all variables, with their values where they are set."""
    rows = [
        (one.name, _value(env, one.name, one), one.meaning if one.only_for is None else f"CASE {one.only_for}: {one.meaning}")
        for one in VARIABLES
    ]
    yield from _lines(rows, width)
    for prefix, variables, what in (
        (CLOUD, SECURITY, "cloud's Kafka"),
        (EDGE, SECURITY, "edge's Kafka"),
        (REGISTRY, OF_REGISTRY, "schema registry"),
    ):
        yield ""
        yield f"How to get into the {what}; a name with {FILE} at its end holds the path of a file with the value."
        rows = [(prefix + one.name, _value(env, prefix + one.name, one), one.meaning) for one in variables]
        yield from _lines(rows, width)


def _value(env: Environment, name: str, one: Variable) -> str:
    """What a variable holds; in brackets what holds where it is not set."""
    text = env.text(name)
    if text is None and not env.is_missing(name):
        return "None"  # which is a value of some
    if text is not None:
        return HIDDEN if one.is_secret or _HAS_USER.search(text) else shown(text, MOST_SHOWN)
    path = env.text(name + FILE) if one.may_be_file else None
    if path is not None:
        return f"in {shown(path, MOST_SHOWN)}" if is_path(path) else HIDDEN  # what is no path may be the secret itself
    if one not in (*SECURITY, *OF_REGISTRY) and one.is_needed(env):
        return f"({NEEDED})"
    return f"({one.default})" if one.default else ""


def _lines(rows: list[tuple[str, str, str]], width: int) -> Iterator[str]:
    names = max(len(name) for name, _value, _meaning in rows) + 2
    before = " " * (names + COLUMN)
    for name, value, meaning in rows:
        begin = f"{name:{names}}{value:{COLUMN}}"
        if len(begin) > len(before):
            yield begin
            begin = before
        yield from textwrap.wrap(
            meaning, max(width, 2 * len(before)), initial_indent=begin, subsequent_indent=before, break_on_hyphens=False
        )
