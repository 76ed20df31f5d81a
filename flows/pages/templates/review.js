"use strict";
// The review page. Items come in script files that call pixelmillReview.items; a server that can tell more is asked.
const pixelmillReview = (() => {
  const NAME = 0, PROMPT = 1, INPUT = 2, GATE = 3, REASON = 4, FINGERPRINT = 5, IMAGE = 6, OTHERS = 7, DECISION = 8;
  const WORDS = 0, LINK = 1, WIDTH = 2, HEIGHT = 3;
  const byId = (id) => document.getElementById(id);
  const config = JSON.parse(byId("config").textContent);
  const STATES = [["waiting", "Waiting"], ["accepted", "Accepted"], ["rejected", "Rejected"], ["gone", "Went on"], ["", "All"]];
  const lists = [];
  const chosen = new Map(); // name -> row
  let rows = [], found = [], page = 1, state = "waiting", live = null, shown = [];

  const number = (value) => value.toLocaleString("en-US");
  const items = (count) => `${number(count)} ${count === 1 ? "item" : "items"}`;

  // What is decided: as the server says if it does, else as it was when the page was written.
  function decisionOf(row) {
    if (!live) return row[DECISION];
    const now = live.items[row[NAME]];
    if (!now || now[0] !== row[FINGERPRINT]) return ["gone", null, null, null];
    return now[1];
  }
  const stateOf = (row) => (decisionOf(row) || ["waiting"])[0];

  // -- reading ------------------------------------------------------------------------------------------------------
  function receive(place, some) {
    lists[place] = some;
    rows = lists.flat();
    if (rows.length === config.total) start();
    else if (place === 0) show();
  }

  function start() {
    const gates = new Map();
    for (const row of rows) gates.set(row[GATE] || "", (gates.get(row[GATE] || "") || 0) + 1);
    byId("gate").append(...[...gates].sort((a, b) => b[1] - a[1]).map(([name, count]) => new Option(`${name || "unnamed"} (${number(count)})`, `=${name}`)));
    show();
    ask();
  }

  async function ask() {
    if (!location.protocol.startsWith("http")) return;
    try {
      const answer = await fetch(`/reviews/${encodeURIComponent(config.job)}`, { headers: { accept: "application/json" } });
      if (!answer.ok) return;
      live = await answer.json();
      byId("written").hidden = true;
      byId("buttons").hidden = !live.decides;
      show();
    } catch { /* a bucket has nothing to say */ }
  }

  // -- the items ----------------------------------------------------------------------------------------------------
  function show() {
    const counts = {};
    for (const row of rows) counts[stateOf(row)] = (counts[stateOf(row)] || 0) + 1;
    const gate = byId("gate").value;
    found = rows.filter((row) => (!state || stateOf(row) === state) && (!gate || (row[GATE] || "") === gate.slice(1)));
    showStates(counts);
    const words = STATES.slice(0, 4).filter(([name]) => counts[name]).map(([name, word]) => `${number(counts[name])} ${word.toLowerCase()}`);
    byId("summary").textContent = rows.length < config.total ? `Reading ${items(config.total)}…` : `${items(rows.length)} that a gate refused: ${words.join(", ")}`;
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
      const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span"), count = document.createElement("b");
      input.type = "radio";
      input.name = "state";
      input.checked = name === state;
      input.onchange = () => { state = name; page = 1; show(); };
      count.textContent = number(name ? counts[name] || 0 : rows.length);
      text.append(`${word} `, count);
      label.append(input, text);
      return label;
    }));
  }

  function showImage(image, entry, words) {
    image.alt = words;
    image.onload = () => image.classList.toggle("crisp", image.naturalWidth < 200 && image.naturalHeight < 200);
    image.src = entry[LINK];
  }

  function card(row) {
    const node = byId("item").content.firstElementChild.cloneNode(true);
    const part = (selector) => node.querySelector(selector);
    part(".name").textContent = row[NAME];
    const decision = decisionOf(row), badge = part(".badge");
    badge.dataset.verdict = stateOf(row);
    badge.textContent = stateOf(row) === "gone" ? "went on" : stateOf(row);
    const picture = part(".picture");
    if (row[IMAGE]) {
      showImage(part(".picture img"), row[IMAGE], `${row[NAME]}, refused`);
      part(".picture img").onerror = () => lacks(picture, "The image is not where it was written.");
      picture.setAttribute("aria-label", `Enlarge ${row[NAME]}`);
      picture.onclick = () => enlarge(row, row[IMAGE]);
    } else lacks(picture, "The image is gone.");
    part(".gate").textContent = row[GATE] || "gate";
    part(".why").textContent = row[REASON] || "";
    part(".prompt").textContent = row[PROMPT] || row[INPUT] || "";
    if (decision && decision[0] !== "gone") {
      part(".decision").hidden = false;
      part(".decision").textContent = `${decision[0]} by ${decision[1] || "somebody"}, ${(decision[3] || "").slice(0, 16).replace("T", " ")}${decision[2] ? `: ${decision[2]}` : ""}`;
    }
    part(".others").append(...row[OTHERS].map((entry) => {
      const item = document.createElement("li"), button = document.createElement("button"), ground = document.createElement("span"), image = document.createElement("img"), label = document.createElement("span");
      button.type = "button";
      ground.className = "ground";
      label.className = "label";
      label.textContent = entry[WORDS];
      image.loading = "lazy";
      showImage(image, entry, entry[WORDS]);
      button.title = `${entry[WORDS]}, ${entry[WIDTH]} × ${entry[HEIGHT]}`;
      button.onclick = () => enlarge(row, entry);
      ground.append(image);
      button.append(ground, label);
      item.append(button);
      return item;
    }));
    const box = part("input");
    box.checked = chosen.has(row[NAME]);
    node.classList.toggle("chosen", box.checked);
    box.onchange = () => {
      byId("message").hidden = true;
      if (box.checked) chosen.set(row[NAME], row);
      else chosen.delete(row[NAME]);
      node.classList.toggle("chosen", box.checked);
      showChosen();
    };
    return node;
  }

  function lacks(picture, words) {
    picture.querySelector("img").hidden = true;
    picture.querySelector(".missing").hidden = false;
    picture.querySelector(".missing").textContent = words;
    picture.disabled = true;
  }

  function enlarge(row, entry) {
    showImage(byId("large"), entry, `${row[NAME]}, ${entry[WORDS]}`);
    byId("large-name").textContent = `${row[NAME]}: ${entry[WORDS]}, ${entry[WIDTH]} × ${entry[HEIGHT]} px`;
    byId("dialog").showModal();
  }

  // -- deciding -----------------------------------------------------------------------------------------------------
  const quoted = (text) => /^[A-Za-z0-9_./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

  function command() {
    const names = [...chosen.keys()], reason = byId("reason").value.trim();
    const waiting = rows.filter((row) => stateOf(row) === "waiting");
    const all = names.length > 1 && names.length === waiting.length && waiting.every((row) => chosen.has(row[NAME]));
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
    byId("chosen").textContent = count ? `${items(count)} selected` : "";
    for (const id of ["accept", "reject", "copy"]) byId(id).disabled = count === 0;
    byId("accept").textContent = `Accept ${number(count)}`;
    byId("reject").textContent = `Reject ${number(count)}`;
    byId("command").textContent = count ? command() : "";
  }

  function choose(some) {
    byId("message").hidden = true;
    for (const row of some) chosen.set(row[NAME], row);
    show();
  }

  async function decide(verdict) {
    for (const id of ["accept", "reject"]) byId(id).disabled = true;
    const wanted = Object.fromEntries([...chosen.values()].map((row) => [row[NAME], row[FINGERPRINT]]));
    try {
      const answer = await fetch(`/reviews/${encodeURIComponent(config.job)}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ verdict, items: wanted, reason: byId("reason").value.trim() }),
      });
      const said = await answer.json();
      if (answer.ok) { chosen.clear(); byId("reason").value = ""; }
      tell(said.message, !answer.ok);
    } catch (error) { tell(`The server does not answer: ${error.message}`, true); }
    await ask();
    showChosen();
  }

  function tell(words, bad) {
    byId("message").hidden = false;
    byId("message").textContent = words;
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
    try { await navigator.clipboard.writeText(byId("command").textContent); tell("Copied.", false); }
    catch { getSelection().selectAllChildren(byId("command")); tell("Selected: copy it from here.", false); }
  };
  byId("close").onclick = () => byId("dialog").close();
  byId("dialog").onclick = (event) => { if (event.target === byId("dialog")) byId("dialog").close(); };

  for (const name of config.lists) {
    const script = document.createElement("script");
    script.src = name;
    document.head.append(script);
  }
  return { items: receive };
})();
