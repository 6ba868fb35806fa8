"""OTEL_…: the phases of each round as a trace, sent by OpenTelemetry's own exporter, which reads its variables itself."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, final

from protocol.topics import Federation
from watching import Event, PhaseBegun, PhaseEnded

log = logging.getLogger(__name__)

SERVICE = "kafka-ml-federated-worker"  # where OTEL_SERVICE_NAME does not say otherwise


@final
class Traces:
    """A span for each phase, within the one that lies around it. They are sent by a thread of the SDK.

    Args:
        exporter: what sends them; None = as the environment says.
    """

    setting = "OTEL_EXPORTER_OTLP_ENDPOINT"

    def __init__(self, federation: Federation, exporter: Any = None) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an optional extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an optional extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an optional extra

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # it tells of each try; once is enough
        resource = Resource.create({"kafka_ml.model": federation.model_id, "kafka_ml.client": federation.client_id})
        if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SERVICE}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_ToldOnce(exporter or _otlp())))
        self._tracer = self._provider.get_tracer("kafka_ml")
        self._open: defaultdict[int, list[Any]] = defaultdict(list)  # by thread, innermost last

    def tell(self, event: Event) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an optional extra

        spans = self._open[threading.get_ident()]
        match event:
            case PhaseBegun(name, version):
                around = trace.set_span_in_context(spans[-1]) if spans else None
                attributes = {} if version is None else {"kafka_ml.version": version}
                spans.append(self._tracer.start_span(name, around, attributes=attributes))
            case PhaseEnded(_name, _seconds, fault) if spans:
                span = spans.pop()
                if fault:
                    span.set_status(trace.StatusCode.ERROR, fault)
                span.end()

    def close(self, _fault: str) -> None:
        """Send what has not been sent yet."""
        self._provider.shutdown()


@final
class _ToldOnce:
    """An exporter whose first failure leaves a line in the log, and no other one does."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._is_told = False
        self.shutdown: Callable[[], None] = exporter.shutdown
        self.force_flush: Callable[..., bool] = exporter.force_flush

    def export(self, spans: Any) -> Any:
        result = self._exporter.export(spans)
        if result.value and not self._is_told:
            self._is_told = True
            log.warning("%s: traces cannot be sent there; the training goes on, and this is told once", Traces.setting)
        return result


def _otlp() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an optional extra

    return OTLPSpanExporter()
