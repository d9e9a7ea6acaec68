// Who serves: routers, the controller's loop, Envoy's access log, and what is kept.

import { h } from "../dom.js";
import { lasting, whole } from "../format.js";
import { chip, empty } from "../parts.js";
import { state } from "../state.js";

export function fleet() {
  const status = state.status;
  if (!status) return empty("Waiting for the controller…");
  return [
    h("h1", null, "Fleet"),
    h("section", { class: "panel", "aria-labelledby": "routers" }, h("h2", { id: "routers" }, "Routers"), routers(status)),
    failOpen(status),
    h("section", { class: "panel", "aria-labelledby": "controller" }, h("h2", { id: "controller" }, status.controllers ? "Controllers" : "Controller"),
      status.controllers ? controllers(status.controllers) : null, h("dl", { class: "facts wide" }, controller(status))),
  ];
}

function routers(status) {
  if (!status.routers.length) return empty("No router has told of itself.", "Without one Envoy serves stable. Routers tell where they stand once a second.");
  const total = status.routers.reduce((sum, one) => sum + one.decisions_per_second, 0);
  const columns = ["Router", "Stands", "Version", "Up", "Generation", "Snapshot age", "Heartbeat age", "Decisions/s", "Decision p50 / p99", "Errors", "Shed", "Restarts"];
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Routers" }, h("table", null,
    h("caption", null, `${whole(total)} decisions a second, State generation ${status.generation}`),
    h("thead", null, h("tr", null, columns.map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", null, status.routers.map((one) => h("tr", { "data-key": one.router },
      h("th", { scope: "row", class: "break" }, one.router), h("td", null, stands(one, status), h("span", { class: "small muted of" }, `${one.serving} of ${one.workers} workers`)),
      h("td", null, one.version || "–"), h("td", null, lasting(one.up)),
      h("td", null, one.generations.join(", ") || "–"), h("td", null, lasting(one.age)), h("td", null, lasting(one.heartbeat_age)),
      h("td", null, whole(one.decisions_per_second)), h("td", null, decided(one.decision_seconds)), h("td", null, whole(one.errors)), h("td", null, whole(one.shed)),
      h("td", null, whole(Object.values(one.restarts).reduce((sum, count) => sum + count, 0)))))))),
    h("p", { class: "small muted" }, "How long decisions take: bytes in to bytes out, one in 64, of the last minute or two. Envoy waits for that, and for the way there and back."),
  ];
}

function decided(times) {
  return times ? `${micro(times.p50)} / ${micro(times.p99)}` : "–";
}

function micro(seconds) {
  return seconds < 0.001 ? `${(seconds * 1e6).toFixed(1)} µs` : `${(seconds * 1000).toFixed(1)} ms`;
}

function failOpen(status) {
  const count = status.collector.undecided;
  const total = status.routers.reduce((sum, one) => sum + one.decisions_per_second, 0);
  return h("section", { class: "panel", "aria-labelledby": "open" }, h("h2", { id: "open" }, "Envoy"), h("dl", { class: "facts wide" },
    fact("Failed open", count ? chip("!", whole(count), "wait") : chip("✓", "0", "good")),
    fact("Decisions", `${whole(total)} a second`),
    fact("Access-log streams", status.collector.streams ? whole(status.collector.streams) : chip("!", "none: nothing is heard of Envoy", "bad")),
    fact("Messages not understood", whole(status.collector.bad_messages))),
    h("p", { class: "small muted" }, "Failed open: requests that Envoy answered without a decision, by stable, since this controller has started. No router was there, or it took longer than Envoy waits; Envoy's access log says which ones."));
}

function controllers(all) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Controllers" }, h("table", null,
    h("thead", null, h("tr", null, ["Controller", "Stands", "Version", "Heard of"].map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", null, all.map((one) => h("tr", { "data-key": one.name }, h("th", { scope: "row", class: "break" }, one.name),
      h("td", null, one.leader ? chip("★", "leads", "live") : chip("○", "stands by", "calm")), h("td", null, one.version || "–"), h("td", null, `${lasting(one.age)} ago`))))));
}

function stands(one, status) {
  if (one.silent !== null) return chip("✕", `silent for ${lasting(one.silent)}`, "bad");
  if (one.withdrawn.length) return chip("!", `canary of ${one.withdrawn.join(", ")} withdrawn`, "bad");
  if (one.serving < one.workers) return chip("!", "workers are missing", "wait");
  if (one.generations.some((generation) => generation < status.generation)) return chip("…", "catching up", "wait");
  return chip("✓", "serves", "good");
}

function controller(status) {
  const { loop, watch, store, spec_file: file, exposures, judge } = status;
  const failures = Object.values(store.failures).reduce((sum, count) => sum + count, 0);
  return [
    fact("Evaluates", status.stale ? chip("✕", `silent for ${lasting(status.stale)}`, "bad") : chip("✓", `every second, lag ${(loop.lag * 1000).toFixed(0)} ms`, loop.worst_lag > 1 ? "wait" : "good")),
    fact("Worst lag of the last minute", `${(loop.worst_lag * 1000).toFixed(0)} ms`), fact("An evaluation takes", `${(loop.tick_seconds * 1000).toFixed(1)} ms`),
    fact("Evaluations", `${whole(loop.ticks)} (${whole(loop.missed_ticks)} left out)`),
    fact("Watch lease", lasting(watch.lease)),
    fact("Blind", Object.keys(watch.blind).length ? Object.entries(watch.blind).map(([name, why]) => h("p", null, `${name}: ${why}`)) : "no"),
    fact("Store", store.problem ? chip("✕", store.problem.message, "bad") : chip("✓", failures ? `writes again, ${whole(failures)} failures so far` : "writes", "good")),
    fact("Spec", file.problems.length ? [chip("!", `the file has problems, ${status.spec_digest} stays in force`, "bad"), file.problems.map((one) => h("p", { class: "small" }, `${one.path}: ${one.message}`))] : status.spec_digest),
    fact("Exposures written", `${whole(exposures.written)}${exposures.lost ? `, ${whole(exposures.lost)} lost` : ""}`),
    judge ? fact("Judge", judge.silent ? chip("!", judge.silent, "wait") : chip("✓", `${whole(Object.values(judge.ends || {}).reduce((sum, count) => sum + count, 0))} answers read`, "good")) : null,
    judge?.people ? fact("Judge and people", judge.people) : null,
  ];
}

function fact(term, value) {
  return h("div", null, h("dt", null, term), h("dd", null, value));
}
