// The view: filters, page and open item. It lives in the address, so that any view can be linked.
const FILTERS = ["q", "status", "step", "outcome", "sort", "page"];
const OUTCOME_NAMES = { c: "computed", r: "reused", s: "skipped", f: "failed", "-": "unreached" };
const STATE_RANK = { failed: 0, quarantined: 1, pending: 2, done: 3 };

let found = [];          // indices of the items that match the filters, in order
let shownFilters = null; // the filters that `found` and the grid stand for

function readAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries([...FILTERS, "item"].map((name) => [name, parameters.get(name) || ""]));
}

function address(view) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(view)) if (value !== "" && value !== null) parameters.set(name, value);
  return "#" + parameters.toString();
}

function go(change, { remember = false } = {}) {
  const target = address({ ...readAddress(), ...change });
  if (remember) history.pushState(null, "", target);
  else history.replaceState(null, "", target);
  update();
}

function update() {
  const view = readAddress();
  const filters = JSON.stringify(FILTERS.map((name) => view[name]));
  if (filters !== shownFilters) {
    shownFilters = filters;
    showControls(view);
    find(view);
    showGrid(view);
  }
  const index = view.item === "" ? null : Number(view.item);
  if (index === null) closeItem();
  else if (items[index]) showItem(index);
}

function matcher(view) {
  const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const state = config.states.indexOf(view.status);
  const step = config.steps.findIndex(([id]) => id === view.step);
  const outcome = view.outcome || "visited";
  return (item, index) => {
    if (view.status === "warned" ? !item.warnings : view.status && item.state !== state) return false;
    if (view.step) {
      const code = item.outcomes[step];
      if (outcome === "visited" ? !"crf".includes(code) : OUTCOME_NAMES[code] !== outcome) return false;
    }
    return words.every((word) => haystack(index).includes(word));
  };
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const ORDERS = {
  name: (a, b) => collator.compare(a.name, b.name),
  state: (a, b) => STATE_RANK[config.states[a.state]] - STATE_RANK[config.states[b.state]],
  slow: (a, b) => b.seconds - a.seconds,
  large: (a, b) => b.width * b.height - a.width * a.height,
};

function find(view) {
  const matches = matcher(view);
  found = [];
  items.forEach((item, index) => { if (matches(item, index)) found.push(index); });
  const order = ORDERS[view.sort];
  if (order) found.sort((a, b) => order(items[a], items[b]) || a - b);
}
