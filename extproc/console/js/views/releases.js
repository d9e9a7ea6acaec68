// Every rollout, one card each, those that need eyes first.

import { h } from "../dom.js";
import { differing, lasting, percent, whole } from "../format.js";
import { empty, harmBar, statusChip, track, verdictChip, worst } from "../parts.js";
import { rollouts, state } from "../state.js";
import { EXPOSES, title } from "../words.js";

export function releases() {
  const all = rollouts();
  if (!state.status) return empty("Waiting for the controller…");
  return [
    h("h1", null, "Releases"),
    all.length ? h("div", { class: "cards" }, all.map(([name, rollout]) => card(name, rollout)))
      : empty("No rollout yet.", "Write one into the Spec; the controller reads the file again when it changes."),
  ];
}

function card(name, rollout) {
  const worstOne = worst(rollout.findings);
  return h("article", { class: `card ${rollout.page ? "page" : ""}`, "data-key": name, "aria-label": name },
    h("header", null,
      h("h2", null, h("a", { href: `#/release/${encodeURIComponent(name)}` }, name)), statusChip(rollout.status),
      h("button", { type: "button", class: "small-button", "data-do": "act", "data-rollout": name }, "Stop or move…", h("span", { class: "sr" }, ` ${name}`))),
    h("p", { class: "muted" }, rollout.canary, " in the place of ", rollout.stable, rollout.attempt > 1 ? ` · attempt ${rollout.attempt}` : ""),
    track(rollout),
    h("dl", { class: "facts" },
      fact("Share on the canary", percent(rollout.share)),
      fact(EXPOSES.has(rollout.status) ? "In this phase" : "For", lasting(rollout.seconds)),
      fact("Canary units", whole(rollout.canary_units)),
      worstOne ? fact("Worst number", [title(worstOne.gate), " ", differed(worstOne)]) : null),
    worstOne && worstOne.log_e_limit ? h("p", { class: "line" }, verdictChip(worstOne.verdict), " ", harmBar(worstOne.log_e_harm, worstOne.log_e_limit, "harm ")) : null,
    h("p", { class: "waits" }, waiting(rollout)));
}

function differed(finding) {
  const measure = state.measures[finding.gate.replace(/^ceiling:/, "")] || {};
  return finding.estimate === null ? "" : differing(finding.estimate, measure.unit);
}

/** What it waits for, or why it is where it is. */
export function waiting(rollout) {
  if (rollout.status === "rolled_back" || rollout.status === "completed" || rollout.status === "pending") return rollout.why;
  if (rollout.waiting_for.length) return `Waits for: ${rollout.waiting_for.join("; ")}`;
  return rollout.now || rollout.why;
}

function fact(term, value) {
  return h("div", null, h("dt", null, term), h("dd", null, value));
}
