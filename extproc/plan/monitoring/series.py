"""What dashboards and alerts ask, said once: each expression is written as PromQL and as a Datadog query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc import contract
from extproc.domain import Arm

INTERVAL: Final = "$__rate_interval"
"""Grafana fills it in: four scrapes at least, however far somebody has zoomed out."""
NAMESPACE: Final = "extproc"
"""What every metric's name begins with at Datadog."""
DATADOG_NAMES: Final = {
    contract.METRIC_TTFT: "gen_ai.server.time_to_first_token",
    contract.METRIC_DURATION: "gen_ai.server.request.duration",
    contract.METRIC_TOKEN_USAGE: "gen_ai.client.token.usage",
}
"""Those that a convention has a name for are called so there too."""

Where = tuple[tuple[str, str, str], ...]
"""Conditions: (label, `=` or `!=`, value)."""


def datadog_name(metric: str) -> str:
    """A metric's name at Datadog, without the namespace and the suffix of its kind."""
    family = metric.removesuffix("_total")
    return DATADOG_NAMES.get(family, family.removeprefix(f"{NAMESPACE}_"))


@dataclass(frozen=True, slots=True)
class Series:
    """Series of one metric, those that the conditions leave."""

    metric: str
    where: Where = ()
    by: tuple[str, ...] = ()
    """Labels that are kept apart; all others are put together."""

    @property
    def selected(self) -> str:
        """As PromQL selects them."""
        return self._selected("")

    def _selected(self, suffix: str) -> str:
        inner = ",".join(f"{label}{sign}{quoted(value)}" for label, sign, value in self.where)
        return f"{self.metric}{suffix}{{{inner}}}" if inner else f"{self.metric}{suffix}"

    def _kept(self, *more: str) -> str:
        kept = (*self.by, *more)
        return f" by ({', '.join(kept)}) " if kept else ""

    def _scope(self) -> str:
        """As Datadog selects and keeps them apart."""
        inner = " AND ".join(_tag(*one) for one in self.where) or "*"
        return f"{{{inner}}}" + (f" by {{{','.join(self.by)}}}" if self.by else "")


@dataclass(frozen=True, slots=True)
class Gauge(Series):
    """The largest of the values there are."""

    def promql(self, _window: str = "") -> str:
        """The value now; the window does not matter."""
        return f"max{self._kept()}({self.selected})"

    def datadog(self) -> str:
        """The same."""
        return f"max:{NAMESPACE}.{datadog_name(self.metric)}{self._scope()}"


@dataclass(frozen=True, slots=True)
class Total(Series):
    """How many since the process began that counts them."""

    def promql(self, _window: str = "") -> str:
        """The sum now; the window does not matter."""
        return f"sum{self._kept()}({self.selected})"

    def datadog(self) -> str:
        """How many in the time that is shown: Datadog keeps differences alone."""
        return f"sum:{NAMESPACE}.{datadog_name(self.metric)}.count{self._scope()}.as_count()"


@dataclass(frozen=True, slots=True)
class Rate(Series):
    """How many in a second. `part`: `_sum` or `_count` of a histogram, else empty."""

    part: str = ""

    def promql(self, window: str = INTERVAL) -> str:
        """Over a window, such as 5m."""
        return f"sum{self._kept()}(rate({self._selected(self.part)}[{window}]))"

    def datadog(self) -> str:
        """The same."""
        return f"sum:{NAMESPACE}.{datadog_name(self.metric)}{self.part.replace('_', '.') or '.count'}{self._scope()}.as_rate()"


@dataclass(frozen=True, slots=True)
class Quantile(Series):
    """A quantile of a histogram, between the ends of its buckets."""

    share: float = 0.5

    def promql(self, window: str = INTERVAL) -> str:
        """Over a window, such as 5m."""
        buckets = f"sum{self._kept('le')}(rate({self._selected('_bucket')}[{window}]))"
        return f"histogram_quantile({self.share:g}, {buckets})"

    def datadog(self) -> str:
        """Of a distribution: its percentiles have to be switched on."""
        return f"p{self.share * 100:.0f}:{NAMESPACE}.{datadog_name(self.metric)}{self._scope()}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One rate by another; nothing where nothing was counted."""

    over: Rate
    under: Rate

    @property
    def parts(self) -> tuple[Rate, Rate]:
        """Both."""
        return self.over, self.under

    def promql(self, window: str = INTERVAL) -> str:
        """Over a window, such as 5m."""
        return f"{self.over.promql(window)} / {self.under.promql(window)}"

    def datadog(self) -> str:
        """The same."""
        return f"{self.over.datadog()} / {self.under.datadog()}"


Expression = Gauge | Total | Rate | Quantile | Ratio


def metrics_of(expression: Expression) -> tuple[str, ...]:
    """Names of the metrics that an expression reads."""
    return tuple(part.metric for part in expression.parts) if isinstance(expression, Ratio) else (expression.metric,)


# ------------------------------------------------------------------------------------------------------- of a rollout and its arms
def of(rollout: str, arm: Arm | None = None, phase: str = "") -> Where:
    """Conditions for a rollout, one of its arms, one of its phases."""
    where: list[tuple[str, str, str]] = [("rollout", "=", rollout)]
    where += [("arm", "=", arm.value)] if arm is not None else []
    where += [("phase", "=", phase)] if phase else []
    return tuple(where)


def failures(where: Where, by: tuple[str, ...] = ()) -> Ratio:
    """Share of the requests that failed."""
    failed = (*where, ("result", "=", "failed"))
    return Ratio(Rate(contract.METRIC_OUTCOMES, failed, by), Rate(contract.METRIC_OUTCOMES, where, by))


def mean(histogram: str, where: Where, by: tuple[str, ...] = ()) -> Ratio:
    """Mean of what a histogram counts."""
    return Ratio(Rate(histogram, where, by, "_sum"), Rate(histogram, where, by, "_count"))


def cost(where: Where, by: tuple[str, ...] = ()) -> Ratio:
    """USD of a request."""
    return Ratio(Rate(contract.METRIC_COST, where, by), Rate(contract.METRIC_OUTCOMES, where, by))


def quoted(text: str) -> str:
    """A string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _tag(label: str, sign: str, value: str) -> str:
    """A condition of Datadog's. Its tags are lower case, and have an underscore for what they cannot hold, or nothing at the end:
    both forms of a phase such as 25% are asked for."""
    plain = "".join(letter if letter.isalnum() or letter in "_-:./" else "_" for letter in value.lower())
    forms = dict.fromkeys((plain, plain.rstrip("_")))
    said = f"{label}:{plain}" if len(forms) == 1 else f"{label} IN ({','.join(forms)})"
    return f"NOT {said}" if sign == "!=" else said
