// Which model a request would meet now, and why.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { closed, problem } from "../parts.js";
import { may } from "../state.js";

const FIRST = "x-user-id: \n";
const shown = { answer: null, error: null, busy: false };

export function explain() {
  return [
    h("h1", null, "Explain"),
    h("p", { class: "muted" }, "Which model a user or a request meets now, and why. Nothing of it is logged."),
    closed("operator", ": who asks about a user should be known."),
    may("operator") ? h("form", { class: "panel form", "data-form": "explain", autocomplete: "off" },
      h("label", { for: "headers" }, "Headers, one a line"), h("textarea", { id: "headers", name: "headers", rows: 4, spellcheck: "false" }, FIRST),
      h("div", { class: "two" },
        h("div", null, h("label", { for: "path" }, "Path"), h("input", { id: "path", name: "path", value: "/v1/chat/completions" })),
        h("div", null, h("label", { for: "model" }, "Model asked for"), h("input", { id: "model", name: "model", placeholder: "as clients name it" }))),
      h("button", { type: "submit", class: "primary" }, shown.busy ? "Asking…" : "Explain")) : null,
    shown.error ? problem(shown.error) : null,
    shown.answer ? answered(shown.answer) : null,
  ];
}

/** What was typed -> an explanation. */
export async function submitted(form, again) {
  const headers = {};
  for (const line of form.get("headers").split("\n")) {
    const [name, ...rest] = line.split(":");
    if (name.trim() && rest.length) headers[name.trim()] = rest.join(":").trim();
  }
  shown.busy = true;
  again();
  try {
    shown.answer = await ask("explain", { headers, path: form.get("path"), model: form.get("model") });
    shown.error = null;
  } catch (error) {
    shown.error = error;
    shown.answer = null;
  }
  shown.busy = false;
  again();
}

function answered(answer) {
  return h("section", { class: "panel", "aria-labelledby": "answer", "aria-live": "polite" }, h("h2", { id: "answer" }, "Answer"),
    answer.notes.map((note) => h("p", { class: "advice" }, note)),
    answer.withdrawn.map((name) => h("p", { class: "advice" }, `The canary of ${name} is withdrawn: nobody watches it.`)),
    answer.layers.map(layered));
}

function layered(layer) {
  const taken = layer.taken;
  return h("article", { class: "layer" },
    h("h3", null, layer.layer === "model" ? "The model" : `Layer ${layer.layer}`),
    taken ? told(taken) : h("p", null, "No rollout takes this request: it keeps its own route."),
    h("details", null, h("summary", null, "Rollouts that were considered"), h("ul", { class: "plain" }, layer.rollouts.map((one) =>
      h("li", null, h("strong", null, one.name), ` ${one.considered.replace(/_/g, " ")}: ${one.sentence}`)))));
}

function told(taken) {
  return [
    h("p", { class: "lead" }, h("span", { class: `arm ${taken.arm || "rest"}` }, taken.arm || "outside"), " ", taken.model || taken.otherwise, h("span", { class: "muted" }, ` of ${taken.rollout}`)),
    h("p", null, taken.sentence),
    h("dl", { class: "facts wide" },
      fact("Unit", taken.unit ? `${taken.unit.kind} ${taken.unit.id}` : "none"), fact("From", taken.unit?.source || "–"),
      fact("Cohort", taken.cohort || "none"), fact("Place on the ring", taken.position === null || taken.position === undefined ? "–" : `${(taken.position * 100).toFixed(2)} %`),
      fact("Phase", `${taken.phase} (${taken.status.replace(/_/g, " ")})`), fact("Counts as evidence", taken.evidence ? "yes" : "no")),
    taken.entry ? h("p", { class: "note" }, `When: ${taken.entry.sentence}`) : null,
    h("details", null, h("summary", null, "Cohorts that were tried"), h("ol", { class: "plain" }, taken.cohorts.map((one) =>
      h("li", null, h("strong", null, one.name), ` (${one.who}): ${one.met.replace(/_/g, " ")}`,
        one.reads.length ? h("span", { class: "muted" }, `; ${one.reads.map((read) => `${read.fact} is ${read.value || "not there"}`).join(", ")}`) : null)))),
    taken.effects?.length ? h("details", null, h("summary", null, "What Envoy is told"), h("ul", { class: "plain" }, taken.effects.map((one) =>
      h("li", null, h("code", null, `${one.name}: ${one.value}`))))) : null,
  ];
}

function fact(term, value) {
  return h("div", null, h("dt", null, term), h("dd", null, value));
}
