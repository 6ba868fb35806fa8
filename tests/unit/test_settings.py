"""The environment becomes settings, or a list of everything that is wrong with it."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kafka.util import ensure_valid_topic_name

import variables
from config import KIND_NAMES, Settings
from protocol.errors import SettingsError
from protocol.stream_spec import StreamRange
from protocol.topics import Federation
from protocol.windows import WindowLimits
from tests.support.environments import job
from variables import termination_log

KNOWN = ", ".join(f"{number} ({name})" for number, name in KIND_NAMES.items())


def faults(**changes: str | None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(job(**changes))
    return caught.value.faults


def test_the_jobs_environment_is_read() -> None:
    settings = Settings.from_env(job(TEST_RATE="0.1", CASE="1", WAIT_LIMIT_S="60", ANSWER_LIMIT_S="5.5", LOAD_LIMIT_S="30"))
    assert settings.cloud.bootstrap == "kafka-cloud:9092"
    assert settings.data.bootstrap == "kafka-edge:9092"
    assert settings.stream == (StreamRange("digits", 0, 0, 400),)
    assert settings.input_format == "RAW"
    assert (settings.validation_rate, settings.test_rate) == (0.2, 0.1)
    assert settings.total_msg == 400
    assert settings.federation.group == "FED-MODEL-dig1-CLIENT-c1"
    assert settings.case == 1
    assert (settings.wait_limit_s, settings.answer_limit_s, settings.load_limit_s) == (60, 5.5, 30)


def test_optional_variables_have_defaults() -> None:
    settings = Settings.from_env(job())
    assert settings.test_rate == 0
    assert settings.unsupervised_stream is None
    assert settings.case == 1
    week_s = 7 * 24 * 3600
    assert (settings.wait_limit_s, settings.answer_limit_s, settings.load_limit_s) == (week_s, 120, 600)


@pytest.mark.parametrize(("text", "allowed"), [(None, False), ("false", False), ("true", True), ("True", True)])
def test_models_carry_no_code_unless_the_operator_says_so(text: str | None, allowed: bool) -> None:  # noqa: FBT001 - a row
    assert Settings.from_env(job(ALLOW_MODEL_CODE=text)).allow_model_code is allowed


IDS = st.text(st.sampled_from("aZ0._- :/ä\n\x00"), min_size=1, max_size=260) | st.text("m", min_size=200, max_size=260)


@given(IDS, IDS)
@example("m" * 227, "c")  # FED-…-model_control_topic of 249 and of 250 characters
@example("m" * 226, "c")
@example("m", "c" * 227)
@example(".", "..")
def test_ids_make_names_of_topics_that_kafka_takes_or_are_a_fault(model_id: str, client_id: str) -> None:
    """Kafka's rules as kafka-python has them, an independent reading of them."""
    federation = Federation(model_id.strip(), client_id.strip())
    topics = (*federation.cloud_topics, federation.reply_data)
    taken = all(map(is_topic, topics)) and bool(federation.model_id and federation.client_id)
    found = faults_or_none(FEDERATED_MODEL_ID=model_id, FEDERATED_CLIENT_ID=client_id, HOSTNAME="a:b")
    assert (found == ()) is taken
    assert all(fault.startswith("FEDERATED_MODEL_ID") and fault.isprintable() for fault in found)


@given(
    st.sampled_from(["DATA_TOPIC", "UNSUPERVISED_TOPIC"]), st.text(st.sampled_from("aZ0._- /ä\n\x00"), min_size=1, max_size=260)
)
def test_streams_have_names_of_topics_that_kafka_takes_or_are_a_fault(variable: str, topic: str) -> None:
    found = faults_or_none(**{variable: topic})
    is_absent = variable == "UNSUPERVISED_TOPIC" and not topic.strip()
    assert (found == ()) is (is_absent or is_topic(topic.strip()))
    assert {fault.split("=")[0].split(" ")[0] for fault in found} <= {variable}


def faults_or_none(**changes: str | None) -> tuple[str, ...]:
    try:
        Settings.from_env(job(**changes))
    except SettingsError as exc:
        return exc.faults
    return ()


def is_topic(name: str) -> bool:
    try:
        ensure_valid_topic_name(name)
    except (TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("absent", [None, "", "None"])
def test_a_client_without_an_id_takes_the_pods_name(absent: str | None) -> None:
    settings = Settings.from_env(job(FEDERATED_CLIENT_ID=absent, HOSTNAME="kml-job-7-x2v"))
    assert settings.federation.client_id == "kml-job-7-x2v"
    assert "client=kml-job-7-x2v (from HOSTNAME)" in settings.summary()


def test_a_client_without_id_and_pod_finds_the_same_name_again() -> None:
    first, again = (Settings.from_env(job(FEDERATED_CLIENT_ID=None)) for _ in range(2))
    assert first.federation.client_id == again.federation.client_id != ""


@pytest.mark.parametrize(
    ("text", "wanted", "topic"),
    [(None, "fail", None), ("Fail", "fail", None), ("SKIP", "skip", None), ("bad-digits", "bad-digits", "bad-digits")],
)
def test_bad_records_fail_are_skipped_or_go_to_a_topic(text: str | None, wanted: str, topic: str | None) -> None:
    settings = Settings.from_env(job(BAD_RECORDS=text))
    assert (settings.bad_records, settings.bad_record_topic, settings.bad_records_limit) == (wanted, topic, 0.01)
    assert f" bad_records={wanted} bad_records_limit=0.01 non_finite=fail" in settings.summary()


def test_the_share_of_bad_records_and_what_becomes_of_fits_that_diverge_can_be_set() -> None:
    settings = Settings.from_env(job(BAD_RECORDS_LIMIT="0", NON_FINITE="Return"))
    assert (settings.bad_records_limit, settings.non_finite) == (0, "return")


@pytest.mark.parametrize("variable", ["DATA_TOPIC", "UNSUPERVISED_TOPIC"])
def test_bad_records_do_not_go_back_to_their_stream(variable: str) -> None:
    [fault] = faults(BAD_RECORDS="odd", **{variable: "digits:0,odd:1:0:7"})
    assert fault == (
        "BAD_RECORDS='odd' is a topic of the stream itself, which would hold its bad records twice: give another one"
    )


def test_a_moving_stream_has_windows_and_rounds_of_a_bounded_size() -> None:
    settings = Settings.from_env(job(CASE="2", DATA_TOPIC="sensors", TOTAL_MSG="None"))
    assert settings.windows == WindowLimits(records=1_000, seconds=10, round_windows=None, round_seconds=300)
    assert " window_records=1000 window_limit_s=10 round_windows=None round_limit_s=300 " in settings.summary()
    assert "window" not in Settings.from_env(job()).summary()
    changes = {"WINDOW_RECORDS": "50", "WINDOW_LIMIT_S": "0.5", "ROUND_WINDOWS": "7", "ROUND_LIMIT_S": "60"}
    assert Settings.from_env(job(CASE="2", **changes)).windows == WindowLimits(50, 0.5, 7, 60)


def test_a_moving_stream_names_each_partition_once() -> None:
    assert Settings.from_env(job(CASE="2", DATA_TOPIC="a:0:7,a:1,b")).stream[0].start == 7
    [fault] = faults(CASE="2", DATA_TOPIC="a:1,b:0:0:5,b:0:7:9")
    assert fault == (
        "DATA_TOPIC='a:1,b:0:0:5,b:0:7:9' names b:0 more than once: a moving stream goes on, so name a partition once"
    )


def test_a_format_may_be_written_small() -> None:
    assert Settings.from_env(job(INPUT_FORMAT="raw")).input_format == "RAW"


def test_a_wrong_value_is_cut_where_it_is_long() -> None:
    [fault] = faults(CASE="9" * 5000)
    assert fault == f"CASE='{'9' * 100}…' is no kind of training: give one of {KNOWN}"


def test_a_total_that_is_blank_is_missing() -> None:
    [fault] = faults(TOTAL_MSG=" ")
    assert fault.startswith("TOTAL_MSG is not set: give ")


def test_a_stream_without_end_has_no_total() -> None:
    assert Settings.from_env(job(TOTAL_MSG="None")).total_msg is None


@pytest.mark.parametrize("text", ["None", "none"])
def test_a_wait_without_limit_has_to_be_asked_for(text: str) -> None:
    assert Settings.from_env(job(WAIT_LIMIT_S=text)).wait_limit_s is None


def test_the_termination_message_is_kubernetes_own_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert termination_log({"TERMINATION_LOG": "/var/message"}) == Path("/var/message")
    monkeypatch.setattr(variables, "TERMINATION_LOG", tmp_path / "message")
    assert termination_log({}) is None
    (tmp_path / "message").touch()
    assert termination_log({}) == tmp_path / "message"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("VALIDATION_RATE", "20", "VALIDATION_RATE='20' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        ("VALIDATION_RATE", "1", "VALIDATION_RATE='1' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        ("VALIDATION_RATE", "-0.1", "VALIDATION_RATE='-0.1' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        ("VALIDATION_RATE", "nan", "VALIDATION_RATE='nan' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        ("VALIDATION_RATE", "20%", "VALIDATION_RATE='20%' is no number: give a fraction, e.g. 0.2 for 20 %"),
        ("TEST_RATE", "10", "TEST_RATE='10' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        (
            "TEST_RATE",
            "0.8",
            "VALIDATION_RATE=0.2 and TEST_RATE=0.8 leave nothing to train with: keep their sum below 1",
        ),
        ("INPUT_FORMAT", "XML", "INPUT_FORMAT='XML' is unknown: choose one of RAW, AVRO, JSON"),
        (
            "TOTAL_MSG",
            "many",
            "TOTAL_MSG='many' is no number of records: give a whole number above 0, or None for a stream without end",
        ),
        (
            "TOTAL_MSG",
            "0",
            "TOTAL_MSG='0' is no number of records: give a whole number above 0, or None for a stream without end",
        ),
        ("CASE", "9", f"CASE='9' is no kind of training: give one of {KNOWN}"),
        ("WINDOW_RECORDS", "0", "WINDOW_RECORDS='0' is no whole number above 0: give one, e.g. 100"),
        ("ROUND_WINDOWS", "1.5", "ROUND_WINDOWS='1.5' is no whole number above 0: give one, e.g. 100"),
        ("ANSWER_LIMIT_S", "0", "ANSWER_LIMIT_S='0' is no limit: give seconds above 0 and up to 31536000, e.g. 120"),
        ("ANSWER_LIMIT_S", "inf", "ANSWER_LIMIT_S='inf' is no limit: give seconds above 0 and up to 31536000, e.g. 120"),
        (
            "DATA_MEMORY_LIMIT",
            "lots",
            "DATA_MEMORY_LIMIT='lots' is no amount of memory: give bytes as Kubernetes writes them, e.g. 512Mi or 2Gi, or a share "
            "of the container's own limit, e.g. 40%",
        ),
        (
            "DATA_SPILL_FOLDER",
            "/no/such/folder",
            "DATA_SPILL_FOLDER='/no/such/folder' is no folder: create it, or mount a volume there",
        ),
        (
            "LIVENESS_FILE",
            "/no/such/alive",
            "LIVENESS_FILE='/no/such/alive' cannot be made: '/no/such' is no folder: create it, or mount a volume there",
        ),
        ("LIVENESS_FILE", "/", "LIVENESS_FILE='/' is a folder: name a file in it"),
        ("ALLOW_MODEL_CODE", "yes", "ALLOW_MODEL_CODE='yes' is unknown: choose one of true, false"),
        (
            "FEDERATED_MODEL_ID",
            "m" * 250,
            f"FEDERATED_MODEL_ID='{'m' * 100}…' with client id 'c1' (FEDERATED_CLIENT_ID): 'FED-{'m' * 96}…' is no name of a Kafka "
            "topic: 1 to 249 letters, digits, '.', '_' and '-'",
        ),
        (
            "BAD_RECORDS",
            "a b",
            "BAD_RECORDS='a b' is neither fail nor skip, and 'a b' is no name of a Kafka topic: "
            "1 to 249 letters, digits, '.', '_' and '-'",
        ),
        ("BAD_RECORDS_LIMIT", "1", "BAD_RECORDS_LIMIT='1' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %"),
        ("BAD_RECORDS_LIMIT", "1%", "BAD_RECORDS_LIMIT='1%' is no number: give a fraction, e.g. 0.2 for 20 %"),
        ("NON_FINITE", "zero", "NON_FINITE='zero' is unknown: choose one of fail, return"),
        ("WAIT_LIMIT_S", "soon", "WAIT_LIMIT_S='soon' is no number: give seconds, e.g. 120"),
        ("DELIVERY", "once", "DELIVERY='once' is unknown: choose one of exactly-once, at-least-once"),
        ("CLOUD_ISOLATION", "dirty", "CLOUD_ISOLATION='dirty' is unknown: choose one of read_uncommitted, read_committed"),
        *(
            (
                "TRANSACTION_LIMIT_S",
                text,
                f"TRANSACTION_LIMIT_S='{text}' is no limit of a transaction: give seconds from 1 to 2147483, e.g. 300",
            )
            for text in ("0", "0.5", "2147484", "nan", "1e309")
        ),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL='LOUD' is unknown: choose one of DEBUG, INFO, WARNING, ERROR"),
        (
            "DATA_BOOTSTRAP_SERVERS",
            "kafka-edge",
            "DATA_BOOTSTRAP_SERVERS='kafka-edge' holds 'kafka-edge', which is no host:port: "
            "give e.g. kafka-edge:9092, comma-separated where several",
        ),
        (
            "KML_CLOUD_BOOTSTRAP_SERVERS",
            "a:9092,b:99999",
            "KML_CLOUD_BOOTSTRAP_SERVERS='a:9092,b:99999' holds 'b:99999', which is no host:port: "
            "give e.g. kafka-edge:9092, comma-separated where several",
        ),
        (
            "DATA_TOPIC",
            "digits:0:zero",
            "DATA_TOPIC='digits:0:zero' is no stream spec: 'digits:0:zero' is not topic[:partition[:offset[:end]]], "
            "comma-separated, e.g. digits:0:0:313,digits:1:0:852",
        ),
        (
            "UNSUPERVISED_TOPIC",
            "a b",
            "UNSUPERVISED_TOPIC='a b' is no stream spec: 'a b' is no name of a Kafka topic: "
            "1 to 249 letters, digits, '.', '_' and '-'",
        ),
        (
            "FEDERATED_MODEL_ID",
            "my model",
            "FEDERATED_MODEL_ID='my model' with client id 'c1' (FEDERATED_CLIENT_ID): 'FED-my model-model_control_topic' is no "
            "name of a Kafka topic: 1 to 249 letters, digits, '.', '_' and '-'",
        ),
        (
            "INPUT_CONFIG",
            "[1]",
            "INPUT_CONFIG='[1]' is JSON of a list: give an object such as "
            '{"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}',
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(name: str, value: str, fault: str) -> None:
    assert faults(**{name: value}) == (fault,)


def test_bad_json_in_the_input_config_is_shown_with_its_place() -> None:
    [fault] = faults(INPUT_CONFIG='{"data_type": }')
    assert fault.startswith(
        "INPUT_CONFIG='{\"data_type\": }' is not JSON (Expecting value: line 1 column 15 (char 14)): give an object"
    )


@pytest.mark.parametrize(
    ("python", "meant"),
    [
        ("{'data_type': 'uint8', 'data_reshape': None}", '{"data_type": "uint8", "data_reshape": null}'),
        ('{"data_fields": ("a", "b"), "all": True}', '{"data_fields": ["a", "b"], "all": true}'),
    ],
)
def test_an_input_config_as_python_writes_a_dict_is_told_as_json(python: str, meant: str) -> None:
    assert faults(INPUT_CONFIG=python) == (f"INPUT_CONFIG={python!r} is a dict as Python writes it, and no JSON: give {meant}",)


@pytest.mark.parametrize("text", ["{'a': b'x'}", "['a']", "{'a': {1, 2}}", "{" * 5000, "{'a': 1"])
def test_what_is_no_dict_of_pythons_either_is_no_json(text: str) -> None:
    [fault] = faults(INPUT_CONFIG=text)
    assert " is not JSON (" in fault


def test_a_reshape_that_is_none_is_named() -> None:
    [fault] = faults(
        INPUT_CONFIG='{"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 x 28", "label_reshape": ""}'
    )
    assert fault.startswith("INPUT_CONFIG.data_reshape='28 x 28' ")


@pytest.mark.parametrize(
    "name",
    [
        "KML_CLOUD_BOOTSTRAP_SERVERS",
        "DATA_BOOTSTRAP_SERVERS",
        "DATA_TOPIC",
        "INPUT_FORMAT",
        "INPUT_CONFIG",
        "VALIDATION_RATE",
        "TOTAL_MSG",
        "FEDERATED_MODEL_ID",
    ],
)
def test_a_missing_variable_is_named(name: str) -> None:
    [fault] = faults(**{name: None})
    assert fault.startswith(f"{name} is not set: give ")


def test_a_client_id_that_no_topic_can_hold_is_told_beside_a_missing_federation() -> None:
    found = faults(FEDERATED_MODEL_ID=None, FEDERATED_CLIENT_ID="a b")
    assert len(found) == 2
    assert "with client id 'a b' (FEDERATED_CLIENT_ID): " in found[1]


def test_several_brokers_are_read() -> None:
    assert Settings.from_env(job(DATA_BOOTSTRAP_SERVERS="a:9092, [::1]:9093")).data.bootstrap == "a:9092,[::1]:9093"


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        VALIDATION_RATE="20",
        INPUT_FORMAT="XML",
        INPUT_CONFIG="{",
        DATA_TOPIC="a:b",
        CASE="8",
        TOTAL_MSG=None,
        FEDERATED_MODEL_ID=None,
    )
    assert len(found) == 7
    assert {fault.split("=")[0].split(" ")[0] for fault in found} == {
        "VALIDATION_RATE",
        "INPUT_FORMAT",
        "INPUT_CONFIG",
        "DATA_TOPIC",
        "CASE",
        "TOTAL_MSG",
        "FEDERATED_MODEL_ID",
    }
