// The review page: shows what gates refused, and takes decisions where a server allows it.
const STATES = [["waiting", "Waiting"], ["accepted", "Accepted"], ["rejected", "Rejected"], ["gone", "Went on"], ["", "All"]];
const lists = [];
const chosen = new Map(); // name -> item
let items = [], found = [], shown = []; // all, those that match the filters, those on this page
let page = 1, state = "waiting";
let live = null; // the server's answer: decisions of the moment

const itemCount = (count) => `${number(count)} ${count === 1 ? "item" : "items"}`;

// The decision as the server has it if there is one, else as it was when the page was written.
function decisionOf(item) {
  if (!live) return item.decision;
  const [fingerprint, decision] = live.items[item.name] || [];
  if (fingerprint !== item.fingerprint) return { verdict: "gone" };
  return decision && named("decision", decision);
}
const stateOf = (item) => decisionOf(item)?.verdict || "waiting";

// -- reading ------------------------------------------------------------------------------------------------------
const image = (row) => row && named("image", row);

function receiveItems(file, rows) {
  lists[file] = rows.map((row) => {
    const item = named("item", row);
    const { decision, others } = item;
    return { ...item, image: image(item.image), others: others.map(image), decision: decision && named("decision", decision) };
  });
  items = lists.flat();
  if (items.length === config.total) start();
  else if (file === 0) show();
}

function start() {
  const gates = new Map();
  for (const { gate } of items) gates.set(gate || "", (gates.get(gate || "") || 0) + 1);
  byId("gate").append(...[...gates].sort((a, b) => b[1] - a[1]).map(([name, count]) => new Option(`${name || "unnamed"} (${number(count)})`, `=${name}`)));
  show();
  readDecisions();
}

async function readDecisions() {
  if (!location.protocol.startsWith("http")) return;
  try {
    const response = await fetch(`/reviews/${encodeURIComponent(config.job)}`, { headers: { accept: "application/json" } });
    if (!response.ok) return;
    live = await response.json();
    byId("written").hidden = true;
    byId("buttons").hidden = !live.decides;
    show();
  } catch { /* a bucket has no decisions */ }
}

// -- the items ----------------------------------------------------------------------------------------------------
function show() {
  const counts = {};
  for (const item of items) counts[stateOf(item)] = (counts[stateOf(item)] || 0) + 1;
  const gate = byId("gate").value;
  found = items.filter((item) => (!state || stateOf(item) === state) && (!gate || (item.gate || "") === gate.slice(1)));
  showStates(counts);
  const words = STATES.slice(0, 4).filter(([name]) => counts[name]).map(([name, word]) => `${number(counts[name])} ${word.toLowerCase()}`);
  byId("summary").textContent = items.length < config.total ? `Reading ${itemCount(config.total)}…` : `${itemCount(items.length)} that a gate refused: ${words.join(", ")}`;
  const pages = Math.max(1, Math.ceil(found.length / config.perPage));
  page = Math.min(page, pages);
  shown = found.slice((page - 1) * config.perPage, page * config.perPage);
  byId("items").replaceChildren(...shown.map(card));
  byId("pages").hidden = pages < 2;
  byId("page-label").textContent = `Page ${number(page)} of ${number(pages)}`;
  byId("previous").disabled = page <= 1;
  byId("next").disabled = page >= pages;
  byId("empty").hidden = found.length > 0;
  byId("empty").textContent = state === "waiting" && !gate ? "Nothing waits for a decision." : "Nothing here.";
  showChosen();
}

function showStates(counts) {
  byId("states").replaceChildren(byId("states").firstElementChild, ...STATES.filter(([name]) => name === "" || name === state || counts[name] || name === "waiting").map(([name, word]) => {
    const label = element("label"), input = element("input"), text = element("span"), count = element("b");
    input.type = "radio";
    input.name = "state";
    input.checked = name === state;
    input.onchange = () => { state = name; page = 1; show(); };
    count.textContent = number(name ? counts[name] || 0 : items.length);
    text.append(`${word} `, count);
    label.append(input, text);
    return label;
  }));
}

function showImage(node, entry, alternative, { whole = false, onerror = null } = {}) {
  node.alt = alternative;
  node.classList.toggle("crisp", entry.width < 200 && entry.height < 200);
  showSmall(node, entry.link, whole ? null : entry.thumbnail, onerror);
}

function card(item) {
  const node = byId("item").content.firstElementChild.cloneNode(true);
  const part = (selector) => node.querySelector(selector);
  part(".name").textContent = item.name;
  const decision = decisionOf(item), badge = part(".badge");
  badge.dataset.verdict = stateOf(item);
  badge.textContent = stateOf(item) === "gone" ? "went on" : stateOf(item);
  const picture = part(".picture");
  if (item.image) {
    const onerror = () => showMissing(picture, "The image is not where it was written.");
    showImage(part(".picture img"), item.image, `${item.name}, refused`, { onerror });
    picture.setAttribute("aria-label", `Enlarge ${item.name}`);
    picture.onclick = () => enlarge(item, item.image);
  } else showMissing(picture, "The image is gone.");
  part(".gate").textContent = item.gate || "gate";
  part(".why").textContent = item.reason || "";
  part(".prompt").textContent = item.prompt || item.input || "";
  if (decision && decision.verdict !== "gone") {
    part(".decision").hidden = false;
    part(".decision").textContent = decisionText(decision);
  }
  part(".others").append(...item.others.map((entry) => other(item, entry)));
  const box = part("input");
  box.checked = chosen.has(item.name);
  node.classList.toggle("chosen", box.checked);
  box.onchange = () => {
    byId("message").hidden = true;
    if (box.checked) chosen.set(item.name, item);
    else chosen.delete(item.name);
    node.classList.toggle("chosen", box.checked);
    showChosen();
  };
  return node;
}

function decisionText({ verdict, reviewer, reason, reviewed_at }) {
  const when = (reviewed_at || "").slice(0, 16).replace("T", " ");
  return `${verdict} by ${reviewer || "an unnamed person"}, ${when}${reason ? `: ${reason}` : ""}`;
}

// An earlier image or attempt of an item.
function other(item, entry) {
  const line = element("li"), button = element("button"), ground = element("span", "ground"), node = element("img");
  button.type = "button";
  button.title = `${entry.label}, ${entry.width} × ${entry.height}`;
  button.onclick = () => enlarge(item, entry);
  node.loading = "lazy";
  showImage(node, entry, entry.label);
  ground.append(node);
  button.append(ground, element("span", "label", entry.label));
  line.append(button);
  return line;
}

function showMissing(picture, message) {
  picture.querySelector("img").hidden = true;
  picture.querySelector(".missing").hidden = false;
  picture.querySelector(".missing").textContent = message;
  picture.disabled = true;
}

function enlarge(item, entry) {
  showImage(byId("large"), entry, `${item.name}, ${entry.label}`, { whole: true });
  byId("large-name").textContent = `${item.name}: ${entry.label}, ${entry.width} × ${entry.height} px`;
  byId("dialog").showModal();
}

// -- deciding -----------------------------------------------------------------------------------------------------
const quoted = (text) => /^[A-Za-z0-9_./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

function command() {
  const names = [...chosen.keys()], reason = byId("reason").value.trim();
  const waiting = items.filter((item) => stateOf(item) === "waiting");
  const all = names.length > 1 && names.length === waiting.length && waiting.every((item) => chosen.has(item.name));
  const words = ["pixelmill", byId("verdict").value, ...(reason ? ["--reason", quoted(reason)] : [])];
  if (all) return [...words, "--all", quoted(config.job)].join(" ");
  // Behind -- a name may begin with a hyphen.
  return [...words, "--", quoted(config.job), ...names.map(quoted)].join(" ");
}

function showChosen() {
  const count = chosen.size;
  byId("decide").hidden = count === 0 && byId("message").hidden;
  for (const line of document.querySelectorAll(".line")) line.hidden = count === 0;
  byId("select-none").disabled = count === 0;
  byId("select-page").disabled = shown.length === 0;
  byId("select-all").disabled = found.length === 0;
  byId("select-all").textContent = `Select all ${number(found.length)}`;
  byId("chosen").textContent = count ? `${itemCount(count)} selected` : "";
  for (const id of ["accept", "reject", "copy"]) byId(id).disabled = count === 0;
  byId("accept").textContent = `Accept ${number(count)}`;
  byId("reject").textContent = `Reject ${number(count)}`;
  byId("command").textContent = count ? command() : "";
}

function choose(some) {
  byId("message").hidden = true;
  for (const item of some) chosen.set(item.name, item);
  show();
}

async function decide(verdict) {
  for (const id of ["accept", "reject"]) byId(id).disabled = true;
  const wanted = Object.fromEntries([...chosen.values()].map((item) => [item.name, item.fingerprint]));
  try {
    const response = await fetch(`/reviews/${encodeURIComponent(config.job)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ verdict, items: wanted, reason: byId("reason").value.trim() }),
    });
    const answer = await response.json();
    if (response.ok) { chosen.clear(); byId("reason").value = ""; }
    report(answer.message, !response.ok);
  } catch (error) { report(`The server does not answer: ${error.message}`, true); }
  await readDecisions();
  showChosen();
}

function report(message, bad) {
  byId("message").hidden = false;
  byId("message").textContent = message;
  byId("message").classList.toggle("bad", bad);
}

function turn(offset) {
  page += offset;
  show();
  byId("toolbar").scrollIntoView({ block: "start" });
  byId("items").focus({ preventScroll: true });
}

byId("toolbar").onsubmit = (event) => event.preventDefault();
byId("gate").onchange = () => { page = 1; show(); };
byId("ground").onchange = () => { document.body.dataset.ground = byId("ground").value; };
byId("select-page").onclick = () => choose(shown);
byId("select-all").onclick = () => choose(found);
byId("select-none").onclick = () => { chosen.clear(); byId("message").hidden = true; show(); };
byId("previous").onclick = () => turn(-1);
byId("next").onclick = () => turn(1);
byId("accept").onclick = () => decide("accepted");
byId("reject").onclick = () => decide("rejected");
byId("reason").oninput = byId("verdict").onchange = showChosen;
byId("copy").onclick = async () => {
  const done = await copy(byId("command").textContent, byId("command"));
  report(done === "Copied" ? "Copied." : "Selected: copy it from here.", false);
};
byId("close").onclick = () => byId("dialog").close();
byId("dialog").onclick = (event) => { if (event.target === byId("dialog")) byId("dialog").close(); };

globalThis.pixelmillReview = { items: receiveItems }; // what the data files call
config.lists.forEach((name) => loadScript(name));
