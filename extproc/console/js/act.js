// Stop, or move: from anywhere in two clicks and one typed reason. The first opens this dialog, the second is the deed.

import { ask } from "./api.js";
import { h, show } from "./dom.js";
import { lasting, percent } from "./format.js";
import { problem, statusChip } from "./parts.js";
import { may, rollouts, state } from "./state.js";
import { EXPOSES } from "./words.js";

const SHORTEST = 3; // characters of a reason
const doing = { rollout: "", act: "", error: null, answer: null, begun: 0, committed: 0, reached: 0, busy: false, login: false };
const dialog = document.getElementById("dialog");

/** Open for a rollout; without one for that which needs eyes most. */
export function openAct(name) {
  if (state.session.name && !may("operator")) return;
  const chosen = name || rollouts().find(([, one]) => EXPOSES.has(one.status))?.[0] || rollouts()[0]?.[0] || "";
  Object.assign(doing, { rollout: chosen, act: "", error: null, answer: null, busy: false, login: !state.session.name });
  open(state.session.name ? "#why" : first());
}

/** Open to log in, or to log out. */
export function openLogin() {
  Object.assign(doing, { rollout: "", act: "", error: null, answer: null, busy: false, login: true });
  open(first());
}

/** The login's first field: where each person has a token, it says whose it is. */
function first() {
  return state.session.people ? "#token" : "#name";
}

function open(focus) {
  dialog.replaceChildren();
  paint();
  if (!dialog.open) dialog.showModal();
  dialog.querySelector(focus)?.focus();
}

export function close() {
  dialog.close();
}

/** What the dialog shows now. */
export function paint() {
  if (doing.login) show(dialog, state.session.name ? loggedIn() : login());
  else if (doing.answer) show(dialog, done());
  else show(dialog, choices());
}

function frame(title, ...rest) {
  return [h("header", null, h("h2", { id: "dialog-title" }, title), h("button", { type: "button", class: "quiet", "data-do": "close", "aria-label": "Close" }, "✕")), rest];
}

// ----------------------------------------------------------------------------------------------------------------------- login
function login() {
  return h("form", { "data-form": "login", "data-key": "login", autocomplete: "off" },
    frame("Log in",
      h("p", { class: "muted" }, doing.rollout ? "Whoever acts says who he is. " : "", "Looking wants no login on the controller's own machine; acting and texts of users do."),
      state.session.people ? null : [h("label", { for: "name" }, "Your name, as the Journal will say it"), h("input", { id: "name", name: "name", required: true, maxlength: 80, autocomplete: "username" })],
      h("label", { for: "token" }, state.session.people ? "Your token" : "The API's token"), h("input", { id: "token", name: "token", type: "password", required: true, autocomplete: "off" }),
      h("p", { class: "small muted" }, state.session.people ? "It says who you are. " : "It lies beside the store, in the file that ends in .token. ", "The login is good for 12 hours."),
      doing.error ? problem(doing.error) : null,
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, doing.busy ? "Logging in…" : "Log in"))));
}

function loggedIn() {
  return h("div", { "data-key": "session" }, frame(`Logged in as ${state.session.name}`, h("p", null, `As ${state.session.role}, until ${new Date(state.session.until * 1000).toLocaleTimeString()}.`),
    h("div", { class: "buttons" }, h("button", { type: "button", "data-do": "logout" }, "Log out"))));
}

/** The form was sent. */
export async function submitLogin(form) {
  doing.busy = true;
  paint();
  try {
    state.session = await ask("login", { name: form.get("name") || "", token: form.get("token") });
    doing.error = null;
    doing.login = false;
    if (doing.rollout && may("operator")) open("#why");
    else close();
  } catch (error) {
    doing.error = error;
  }
  doing.busy = false;
  paint();
}

// --------------------------------------------------------------------------------------------------------------------- choices
function choices() {
  const rollout = state.status?.rollouts[doing.rollout];
  if (!rollout) return h("div", { "data-key": "none" }, frame("Nothing to stop", h("p", null, "There is no rollout.")));
  const exposes = EXPOSES.has(rollout.status);
  const shadow = rollout.status === "shadow";
  const cohorts = rollout.cohorts.filter((name) => !rollout.cohorts_out.includes(name));
  const earlier = rollout.phases.slice(0, rollout.phase_index);
  const ready = (dialog.querySelector("#why")?.value.trim() || "").length >= SHORTEST;
  return h("div", { "data-key": "choices" }, frame("Stop or move",
    rollouts().length > 1 ? [h("label", { for: "which" }, "Rollout"), h("select", { id: "which", "data-change": "which" }, rollouts().map(([name]) => h("option", { value: name, selected: name === doing.rollout }, name)))] : null,
    h("p", { class: "line" }, h("strong", null, doing.rollout), " ", statusChip(rollout.status), ` at ${rollout.phase}, ${percent(rollout.share)} on the canary`),
    h("label", { for: "why" }, "Why? The Journal keeps it"),
    h("input", { id: "why", "data-input": "why", maxlength: 900, required: true, autocomplete: "off", placeholder: "such as: incident 4711" }),
    h("div", { class: "acts" },
      group("Roll back", exposes || shadow || rollout.status === "completed" ? button("rollback", "Everything", "stop") : null,
        exposes && rollout.cohorts.length > 1 ? cohorts.map((name) => button("rollback", `${name} alone`, "", { cohort: name })) : null),
      group("Hold", ["progressing", "awaiting_approval"].includes(rollout.status) ? button("pause", "Pause") : null,
        ["paused", "awaiting_approval"].includes(rollout.status) || (rollout.status === "progressing" && rollout.verdict === "fail") ? button("resume", "Resume") : null),
      exposes && earlier.length ? group("Return to", earlier.map((phase) => button("return", phase.name, "", { to: phase.name }))) : null,
      shadow ? group("Go on", button("promote", `Promote to ${rollout.phases[0].name}`)) : null,
      exposes ? group("Go on", button("promote", rollout.phases[rollout.phase_index + 1] ? `Promote to ${rollout.phases[rollout.phase_index + 1].name}` : "Complete")) : null,
      rollout.status === "pending" ? group("Begin", button("start", "Start")) : null,
      rollout.status === "rolled_back" ? group("Begin", button("start", `Try again (attempt ${rollout.attempt + 1})`, "", { retry: "yes" })) : null),
    h("p", { class: "small muted" }, h("span", { id: "hint" }, ready ? "One click does it." : "The buttons wait for a reason.")),
    doing.error ? problem(doing.error) : null));
}

function group(title, ...buttons) {
  const given = buttons.flat().filter(Boolean);
  return given.length ? h("div", { class: "group", role: "group", "aria-label": title }, h("span", { class: "small muted" }, title), h("div", null, given)) : null;
}

function button(action, word, kind, options) {
  const why = dialog.querySelector("#why")?.value.trim() || "";
  return h("button", { type: "button", class: kind, "data-do": "deed", "data-action": action, "data-options": JSON.stringify(options || {}), "data-word": word,
    disabled: doing.busy || why.length < SHORTEST, "aria-describedby": "hint" }, word);
}

export function choose(name) {
  doing.rollout = name;
  doing.error = null;
  paint();
}

// ------------------------------------------------------------------------------------------------------------------------ deed
export async function deed(from) {
  const why = dialog.querySelector("#why").value.trim();
  const request = crypto.getRandomValues(new Uint32Array(4)).join("-");
  Object.assign(doing, { act: `${from.dataset.action}: ${from.dataset.word}`, busy: true, error: null, begun: performance.now(), reached: 0 });
  paint();
  try {
    doing.answer = await ask(`rollouts/${encodeURIComponent(doing.rollout)}/${from.dataset.action}`, { why, request, ...JSON.parse(from.dataset.options) });
    doing.committed = performance.now() - doing.begun;
  } catch (error) {
    doing.error = error;
    if (error.status === 401) {
      state.session = { ...state.session, name: null, role: null };
      doing.login = true;
    }
  }
  doing.busy = false;
  watched();
  paint();
}

/** A status document has come: do all routers have it? */
export function watched() {
  if (!dialog.open) return;
  const routers = state.status?.routers || [];
  if (doing.answer && !doing.reached && routers.length && having() === routers.length) doing.reached = performance.now() - doing.begun;
  paint();
}

function having() {
  return state.status.routers.filter((one) => one.silent === null && one.generations.length && Math.min(...one.generations) >= doing.answer.generation).length;
}

function done() {
  const total = state.status?.routers.length || 0;
  return h("div", { "data-key": "done" }, frame("Done",
    h("p", { class: "line" }, h("strong", null, doing.rollout), " ", statusChip(doing.answer.status), ` at ${doing.answer.phase}`),
    h("p", { role: "status" }, `Written down after ${Math.round(doing.committed)} ms, as generation ${doing.answer.generation}. `,
      doing.reached ? h("strong", { id: "reached" }, `The last router told after ${lasting(doing.reached / 1000)} that it has it.`)
        : total ? [`${having()} of ${total} routers have told that they have it`, h("span", { "aria-hidden": "true" }, `: ${lasting((performance.now() - doing.begun) / 1000)} so far`), "."] : "No router has told of itself."),
    h("p", { class: "small muted" }, "Routers have it within 100 ms; they tell once a second."),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", "data-do": "close" }, "Close"))));
}
