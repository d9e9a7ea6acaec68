// Who met a canary, and how it ended; to look at, and to take along.

import { lines } from "../api.js";
import { h } from "../dom.js";
import { instant, whole } from "../format.js";
import { closed, empty, problem } from "../parts.js";
import { may, rollouts } from "../state.js";

const SHOWN = 100;
const MOST = 20_000;
const WORDS = { start: "Began", phase: "Phase", cohort: "Cohort", unit: "Unit (hashed)", status: "Status", failed: "Failed", seconds: "Took", answered_by: "Answered by", request: "Request" };
const found = { query: "", rows: [], summary: null, error: null, busy: false };

export function exposures(_, query) {
  const chosen = query.get("rollout") || rollouts()[0]?.[0] || "";
  return [
    h("h1", null, "Exposures"),
    h("p", { class: "muted" }, "Every request that met a canary, with hashed ids only. To find a person, ask on the controller's machine: extproc exposures ROLLOUT --ids FILE"),
    closed("admin", "."),
    may("admin") ? h("form", { class: "panel form", "data-form": "exposures" },
      h("div", { class: "two" },
        h("div", null, h("label", { for: "rollout" }, "Rollout"), h("select", { id: "rollout", name: "rollout" }, rollouts().map(([name]) => h("option", { value: name, selected: name === chosen }, name)))),
        h("div", null, h("label", { for: "cohort" }, "Cohort"), h("input", { id: "cohort", name: "cohort", placeholder: "all" }))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "failed" }), " only those that failed"),
      h("button", { type: "submit", class: "primary" }, found.busy ? "Reading…" : "List")) : null,
    found.error ? problem(found.error) : null,
    found.summary && may("admin") ? list() : null,
  ];
}

/** What was chosen -> the list. */
export async function submitted(form, again) {
  const query = new URLSearchParams({ rollout: form.get("rollout"), limit: String(MOST) });
  if (form.get("cohort").trim()) query.set("cohort", form.get("cohort").trim());
  if (form.get("failed")) query.set("failed", "true");
  Object.assign(found, { busy: true, query: query.toString() });
  again();
  try {
    const all = await lines(`exposures?${query}`);
    const last = all.pop();
    if (!last?.summary) throw Object.assign(new Error("the list was cut off"), { problems: [] });
    Object.assign(found, { rows: all, summary: last.summary, error: null });
  } catch (error) {
    Object.assign(found, { error, rows: [], summary: null });
  }
  found.busy = false;
  again();
}

function list() {
  const { rows, summary } = found;
  const columns = Object.keys(WORDS).filter((name) => !rows.length || name in rows[0]);
  return h("section", { class: "panel", "aria-labelledby": "list" }, h("h2", { id: "list" }, `${whole(rows.length)} requests${summary.next ? ", the first of more" : ""}`),
    (summary.elsewhere || []).map((said) => h("p", { class: "advice" }, `This list is partial: ${said}`)),
    (summary.gaps || []).map((gap) => h("p", { class: "advice" }, gap.sentence)),
    rows.length ? h("p", { class: "line" },
      h("button", { type: "button", "data-do": "export", "data-kind": "csv" }, "Save as CSV"), " ",
      h("button", { type: "button", "data-do": "export", "data-kind": "jsonl" }, "Save as lines of JSON")) : empty("Nobody.", "Nobody met this canary, or what was asked for is too narrow."),
    rows.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Exposures" }, h("table", null,
      h("caption", null, rows.length > SHOWN ? `The last ${SHOWN}; all of them are in what is saved` : "All of them"),
      h("thead", null, h("tr", null, columns.map((name) => h("th", { scope: "col" }, WORDS[name])))),
      h("tbody", null, rows.slice(-SHOWN).reverse().map((row) => h("tr", null, columns.map((name) => h("td", { class: name === "request" ? "small break" : null }, cell(name, row[name])))))))) : null);
}

function cell(name, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (name === "seconds") return `${value.toFixed(2)} s`;
  if (name === "start") return instant(Date.parse(value) / 1000);
  if (name === "failed") return value ? "✕ failed" : "no";
  return String(value);
}

/** Give what was found to the browser as a file. */
export function save(kind) {
  const text = kind === "csv" ? csv(found.rows) : found.rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/x-ndjson" }));
  const link = h("a", { href: address, download: `exposures.${kind}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function csv(rows) {
  const names = Object.keys(rows[0] || {});
  // A spreadsheet must not take what a client has sent for a formula.
  const quoted = (value) => `"${String(value ?? "").replace(/^([=+@\t\r-])/, "'$1").replace(/"/g, '""')}"`;
  return [names.join(","), ...rows.map((row) => names.map((name) => quoted(row[name])).join(","))].join("\n");
}
