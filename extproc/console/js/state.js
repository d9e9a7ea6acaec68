// What the page knows. Views read it; main.js writes it.

export const state = {
  status: null, // the last status document
  at: 0, // performance.now() when it came
  lost: "", // why there is no newer one
  session: { name: null, role: null, looks: true, people: false },
  measures: {},
  journal: new Map(), // rollout -> entries, newest first
  money: {}, // rollout -> what it costs until it is completed
  history: new Map(), // rollout -> columns, as the server has them and as the stream goes on
};

const ROLES = ["viewer", "operator", "admin"];

/** May whoever has logged in do what wants this role? The server decides; a page only does not offer what it would refuse. */
export function may(role) {
  return ROLES.indexOf(state.session.role) >= ROLES.indexOf(role);
}

/** Names of all rollouts, those that need eyes first. */
export function rollouts() {
  const order = ["awaiting_approval", "progressing", "paused", "shadow", "rolled_back", "pending", "completed"];
  const all = Object.entries(state.status?.rollouts || {});
  return all.sort(([one, a], [other, b]) => b.page - a.page || order.indexOf(a.status) - order.indexOf(b.status) || one.localeCompare(other));
}
