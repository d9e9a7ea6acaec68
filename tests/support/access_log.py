"""An Envoy's access log, sent to a controller over gRPC as Envoy sends it, with a ledger of what was sent."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import sleep, time

import grpc

from extproc import contract
from extproc.pb.access_log_pb2 import AccessLogType, HttpAccessLogEntry, StreamAccessLogsMessage


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, as the ledger has it; the fields are those that the list of exposures shows."""

    request: str
    unit: str
    start: float
    seconds: float
    arm: str = "canary"
    reason: str = "ring"
    cohort: str = "everyone"
    phase: str = "5%"
    generation: int = 2
    status: int = 200
    answered_by: str = "new"
    model: str = "gpt-new"
    output_tokens: int = 20
    durable: bool = True
    decided: bool = True
    open: bool = False
    """A periodic entry: it has not ended yet."""

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def failed(self) -> bool:
        return self.status >= 500

    @property
    def exposed(self) -> bool:
        return self.arm == "canary" or self.answered_by == "new"


def entry(one: Sent, rollout: str = "new") -> HttpAccessLogEntry:
    """As Envoy writes it."""
    made = HttpAccessLogEntry()
    common = made.common_properties
    common.access_log_type = AccessLogType.DOWNSTREAM_PERIODIC if one.open else AccessLogType.DOWNSTREAM_END
    common.start_time.FromNanoseconds(round(one.start * 1e9))
    common.duration.FromNanoseconds(round(one.seconds * 1e9))
    common.upstream_request_attempt_count = 1
    common.stream_id = one.request
    common.upstream_cluster = one.answered_by
    if one.decided:
        common.metadata.filter_metadata[contract.assignment_namespace(contract.MODEL_LAYER)].update(
            {
                contract.FIELD_ROLLOUT: rollout,
                contract.FIELD_GENERATION: one.generation,
                contract.FIELD_PHASE: one.phase,
                contract.FIELD_COHORT: one.cohort,
                contract.FIELD_ARM: one.arm,
                contract.FIELD_REASON: one.reason,
                contract.FIELD_DURABLE: one.durable,
                contract.FIELD_UNIT: one.unit,
            }
        )
    common.metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].update({"model": one.model, "input": 10, "output": one.output_tokens})
    made.response.response_code.value = one.status
    return made


def message(*sent: Sent) -> bytes:
    """One StreamAccessLogsMessage."""
    made = StreamAccessLogsMessage()
    made.http_logs.log_entry.extend(entry(one) for one in sent)
    return made.SerializeToString()


def request(number: int, start: float, **changes: object) -> Sent:
    """A request of its own, with a unit that comes back every 500 requests; one in four is the canary's, one in forty of these fails."""
    plain: dict[str, object] = {
        "request": str(uuid.uuid4()),
        "unit": f"{number % 500:016x}",
        "start": start,
        "seconds": 0.05,
        "status": 503 if number % 160 == 0 else 200,
        **({} if number % 4 == 0 else {"arm": "rest", "answered_by": "old", "model": "gpt-old"}),
    }
    return Sent(**(plain | changes))  # type: ignore[arg-type]


@dataclass
class Sender:
    """Requests end all the time, whoever listens. It connects again as soon as it can; what it cannot send is gone, and is in the ledger
    all the same."""

    target: str
    ledger: list[Sent] = field(default_factory=list)
    _channel: grpc.Channel | None = None
    _call: grpc.Future | None = None
    _waiting: SimpleQueue[bytes | None] = field(default_factory=SimpleQueue)

    def send(self, messages: int, per_message: int, every: float) -> None:
        """So many messages, one every so often."""
        for _ in range(messages):
            now, number = time(), len(self.ledger)
            batch = [request(number + place, now - 0.05) for place in range(per_message)]
            self.ledger += batch
            self.tell(*batch)
            sleep(every)
        self.close()

    def tell(self, *sent: Sent) -> None:
        """One message, over the present connection or the next one."""
        if self._call is None or self._call.done():
            self._leave()
            self._channel, self._waiting = grpc.insecure_channel(self.target), SimpleQueue()
            self._call = self._channel.stream_unary(contract.ACCESS_LOG_METHOD).future(iter(self._waiting.get, None))
        self._waiting.put(message(*sent))

    def close(self) -> None:
        """What is under way arrives."""
        self._waiting.put(None)
        if self._call is not None:
            with suppress(grpc.RpcError):
                self._call.result(30.0)
        self._leave()

    def _leave(self) -> None:
        self._waiting.put(None)
        if self._channel is not None:
            self._channel.close()
        self._channel = self._call = None

    @property
    def exposed(self) -> list[Sent]:
        """Those that met the canary."""
        return [one for one in self.ledger if one.exposed]
