"use strict";
// Every name, prompt and message is a stranger's text: it enters the page through textContent and setAttribute only.
// Rows are lists read by position; flows/pages/gallery.py writes them and says what is where.
const pixelmill = (() => {
  const byId = (id) => document.getElementById(id);
  const config = JSON.parse(byId("config").textContent);
  const NAME = 0, PROMPT = 1, STATE = 2, OUTCOMES = 3, SECONDS = 4, IMAGE = 5, WIDTH = 6, HEIGHT = 7, ERROR = 8, WARNINGS = 9;
  const OUTCOME_NAMES = { c: "computed", r: "reused", s: "skipped", f: "failed", "-": "unreached" };
  const BACKDROPS = { checker: "checkers", white: "white", black: "black", magenta: "magenta" };
  const STATE_RANK = { failed: 0, quarantined: 1, pending: 2, done: 3 };

  const lists = [];        // arrays of rows, by number of their file
  let items = [];          // all rows so far; an item is known by its place here
  let haystacks = [];      // what the search looks at, in lower case
  let found = [];          // places that match the filters, in order
  let shownFilters = null; // the filters that `found` and the grid stand for
  const detailFiles = new Map(), wayFiles = new Map(); // number -> { promise, resolve }
  let openPlace = null, openDetails = null, openSteps = [], openStep = 0;
  let shownItem = null;    // whose facts the panel beside the image shows
  let wayIsOpen = false;   // whether a person wants to see why images came out so: stays from item to item

  // -- address: the filters, the page and the open item live in it, so that any view can be linked ------------------
  const FILTERS = ["q", "status", "step", "outcome", "sort", "page"];

  function readAddress() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    const view = {};
    for (const name of [...FILTERS, "item"]) view[name] = parameters.get(name) || "";
    return view;
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

  // -- data ---------------------------------------------------------------------------------------------------------
  function loadScript(name) {
    const script = document.createElement("script");
    script.src = name;
    script.async = false;
    script.onerror = () => {
      byId("result").textContent = `A file of the gallery could not be read: ${name}. Keep it beside this page.`;
    };
    document.head.append(script);
  }

  function receiveItems(number, rows) {
    lists[number] = rows;
    // Up to the first file that is missing: what lies behind it would take another item's place.
    const gap = Array.from(lists).findIndex((list) => list === undefined);
    items = lists.slice(0, gap < 0 ? undefined : gap).flat();
    haystacks = items.map((row) => `${row[NAME]}\n${row[PROMPT] || ""}\n${row[ERROR] || ""}`.toLowerCase());
    shownFilters = null;
    update();
  }

  // The row of an item in files that hold `perDetails` of them each; a file is read when it is needed first.
  function rowOf(place, files, names) {
    const number = Math.floor(place / config.perDetails);
    if (!files.has(number)) {
      const entry = {};
      entry.promise = new Promise((resolve) => { entry.resolve = resolve; });
      files.set(number, entry);
      loadScript(names[number]);
    }
    return files.get(number).promise.then((rows) => rows[place % config.perDetails]);
  }

  const detailsOf = (place) => rowOf(place, detailFiles, config.details);
  const wayOf = (place) => rowOf(place, wayFiles, config.ways);
  const receiveDetails = (number, rows) => detailFiles.get(number)?.resolve(rows);
  const receiveWays = (number, rows) => wayFiles.get(number)?.resolve(rows);

  // -- finding and sorting ------------------------------------------------------------------------------------------
  function matcher(view) {
    const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
    const state = config.states.indexOf(view.status);
    const step = config.steps.findIndex(([id]) => id === view.step);
    const outcome = view.outcome || "visited";
    return (row, place) => {
      if (view.status === "warned" ? !row[WARNINGS] : view.status && row[STATE] !== state) return false;
      if (view.step) {
        const code = row[OUTCOMES][step];
        if (outcome === "visited" ? !"crf".includes(code) : OUTCOME_NAMES[code] !== outcome) return false;
      }
      return words.every((word) => haystacks[place].includes(word));
    };
  }

  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const ORDERS = {
    name: (a, b) => collator.compare(items[a][NAME], items[b][NAME]),
    state: (a, b) => STATE_RANK[config.states[items[a][STATE]]] - STATE_RANK[config.states[items[b][STATE]]],
    slow: (a, b) => items[b][SECONDS] - items[a][SECONDS],
    large: (a, b) => items[b][WIDTH] * items[b][HEIGHT] - items[a][WIDTH] * items[a][HEIGHT],
  };

  function find(view) {
    const matches = matcher(view);
    found = [];
    items.forEach((row, place) => { if (matches(row, place)) found.push(place); });
    const order = ORDERS[view.sort];
    if (order) found.sort((a, b) => order(a, b) || a - b);
  }

  // -- the grid -----------------------------------------------------------------------------------------------------
  const element = (tag, className = "", text = "") => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== "") node.textContent = text;
    return node;
  };

  // Enlarged pixel art and small previews stay crisp instead of blurred; photographs are never enlarged that far.
  function crisp(image) {
    const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
    image.style.imageRendering = scale * devicePixelRatio >= 2 ? "pixelated" : "auto";
  }

  function showPicture(image, missing, link, words, alternative) {
    const miss = (text) => { missing.hidden = false; missing.textContent = text; image.hidden = true; };
    if (!link) return miss(words);
    image.alt = alternative;
    image.onload = () => crisp(image);
    image.onerror = () => miss("The image is not where it was written.");
    image.src = link;
  }

  function card(place, view) {
    const row = items[place];
    const state = config.states[row[STATE]];
    const node = byId("card").content.firstElementChild.cloneNode(true);
    const link = node.querySelector("a");
    link.href = address({ ...view, item: place });
    link.title = row[PROMPT] || row[NAME];
    link.classList.toggle("unfinished", state !== "done");
    node.querySelector(".name").textContent = row[NAME];
    const badge = node.querySelector(".badge");
    badge.textContent = state;
    badge.dataset.state = state;
    const warned = node.querySelector(".warned");
    warned.hidden = !row[WARNINGS];
    warned.textContent = row[WARNINGS] === 1 ? "1 warning" : `${row[WARNINGS]} warnings`;
    const words = row[ERROR] || (state === "pending" ? "Not made yet" : "No image");
    showPicture(node.querySelector("img"), node.querySelector(".missing"), row[IMAGE], words, row[PROMPT] || row[NAME]);
    node.querySelector(".pips").append(...[...row[OUTCOMES]].map((code) => element("i", `bg-${OUTCOME_NAMES[code]}`)));
    return node;
  }

  const number = (value) => value.toLocaleString("en-US");

  function showGrid(view) {
    const pages = Math.max(1, Math.ceil(found.length / config.perPage));
    const page = Math.min(Math.max(1, parseInt(view.page, 10) || 1), pages);
    const first = (page - 1) * config.perPage;
    const places = found.slice(first, first + config.perPage);
    byId("grid").replaceChildren(...places.map((place) => card(place, { ...view, page: page > 1 ? page : "" })));
    const range = places.length < found.length ? `${number(first + 1)} to ${number(first + places.length)} of ` : "";
    const reading = items.length < config.total ? `, reading ${number(config.total - items.length)} more` : "";
    byId("result").textContent = found.length
      ? `${range}${number(found.length)} ${found.length === 1 ? "image" : "images"}${reading}` : reading.slice(2);
    byId("empty").hidden = found.length > 0 || items.length < config.total;
    byId("pages").hidden = pages < 2;
    byId("page-label").textContent = `Page ${number(page)} of ${number(pages)}`;
    byId("previous-page").disabled = page <= 1;
    byId("next-page").disabled = page >= pages;
    byId("previous-page").onclick = () => turn(page - 1);
    byId("next-page").onclick = () => turn(page + 1);
  }

  function turn(page) {
    go({ page: page > 1 ? page : "" }, { remember: true });
    byId("toolbar").scrollIntoView({ block: "start" });
    byId("grid").focus({ preventScroll: true });
  }

  function showControls(view) {
    if (document.activeElement !== byId("q")) byId("q").value = view.q;
    for (const radio of document.getElementsByName("status")) radio.checked = radio.value === view.status;
    byId("step").value = view.step;
    byId("outcome").value = view.outcome || "visited";
    byId("outcome").disabled = !view.step;
    byId("sort").value = view.sort;
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
    const place = view.item === "" ? null : Number(view.item);
    if (place === null) closeItem();
    else if (items[place]) showItem(place);
  }

  // -- the dialog ---------------------------------------------------------------------------------------------------
  const S_OUTCOME = 0, S_SECONDS = 1, S_ERROR = 2, S_IMAGE = 3, S_WIDTH = 4, S_HEIGHT = 5, S_SIZE = 6, S_FINGERPRINT = 7, S_FACTS = 8, S_SOURCE = 9, S_COUNTS = 10;
  const D_NEGATIVE = 0, D_SEED = 1, D_VARS = 2, D_INPUT = 3, D_MASK = 4, D_ERROR_STEP = 5, D_FINALS = 6, D_STEPS = 7;
  const D_AGAIN = 8, D_WARNINGS = 9;
  const W_DEPTH = 0, W_TONE = 1, W_TEXT = 2, W_DETAIL = 3, W_VISIT = 4;

  function closeItem() {
    openPlace = null;
    if (byId("dialog").open) byId("dialog").close();
  }

  function showItem(place) {
    const position = found.indexOf(place);
    byId("position").textContent = position < 0 ? "" : `${number(position + 1)} of ${number(found.length)}`;
    byId("previous-item").disabled = position < 1;
    byId("next-item").disabled = position < 0 || position >= found.length - 1;
    if (openPlace === place) return;
    openPlace = place;
    const row = items[place];
    byId("item-name").textContent = row[NAME];
    byId("item-state").textContent = byId("item-state").dataset.state = config.states[row[STATE]];
    if (!byId("dialog").open) { byId("dialog").showModal(); byId("close").focus(); }
    detailsOf(place).then((details) => {
      if (openPlace !== place) return;
      openDetails = details;
      openSteps = stepsOf(details);
      openStep = startingStep();
      showStrip();
      showStep();
    });
  }

  // What the item came to, in the order of its way: every step of the recipe, and each further attempt at one.
  function stepsOf(details) {
    const steps = config.steps.map(([id], index) => ({ visit: id, index, label: id, row: details[D_STEPS][index] }));
    for (const [visit, index, attempt, row] of details[D_AGAIN]) {
      steps.push({ visit, index, label: `${config.steps[index][0]}, attempt ${attempt}`, row });
    }
    // A visit that the page does not know, as of a recipe that cannot be followed any more, stands after its step's first.
    const order = ({ visit, index }) => {
      const known = config.visits.indexOf(visit);
      return known < 0 ? config.visits.indexOf(config.steps[index][0]) + 0.5 : known;
    };
    return steps.sort((a, b) => order(a) - order(b));
  }

  const isAside = (step) => step.row?.[S_COUNTS] === false;

  // The step that made the card's image, or else the one that failed.
  function startingStep() {
    const failed = openSteps.findIndex((step) => step.row && step.row[S_OUTCOME] === "f");
    if (failed >= 0) return failed;
    return Math.max(0, openSteps.findLastIndex((step) => step.row?.[S_IMAGE] && !isAside(step)));
  }

  // The step whose image went into this one; -1: none did.
  function sourceOf(index) {
    const source = openSteps[index].row?.[S_SOURCE];
    if (source !== undefined) return openSteps.findIndex((step) => step.visit === source && step.row?.[S_IMAGE]);
    return openSteps.findLastIndex((step, place) => place < index && step.row?.[S_IMAGE] && !isAside(step));
  }

  function neighbour(offset) {
    const place = found[found.indexOf(openPlace) + offset];
    if (place !== undefined && found.includes(openPlace)) go({ item: place });
  }

  const duration = (seconds) => seconds >= 60 ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
    : seconds >= 10 ? `${seconds.toFixed(1)} s` : seconds >= 0.1 ? `${seconds.toFixed(2)} s` : `${Math.round(seconds * 1000)} ms`;
  const bytes = (size) => size < 1e3 ? `${size} bytes` : size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;

  function showStrip() {
    byId("strip").replaceChildren(...openSteps.map((entry, index) => {
      const step = entry.row;
      const outcome = OUTCOME_NAMES[step ? step[S_OUTCOME] : "-"];
      const button = element("button");
      button.classList.toggle("aside", isAside(entry));
      button.classList.toggle("again", entry.label !== config.steps[entry.index][0]);
      button.type = "button";
      button.onclick = () => { openStep = index; showStep(); };
      const picture = element("span", "picture"), image = element("img"), missing = element("span", "missing");
      missing.hidden = true;
      picture.append(image, missing);
      const words = outcome === "unreached" ? "not reached" : outcome;
      showPicture(image, missing, step?.[S_IMAGE], words, `after ${entry.label}`);
      const text = element("span", "text"), note = element("span");
      note.append(element("i", `dot bg-${outcome}`), isAside(entry) ? "set aside"
        : outcome === "computed" ? duration(step[S_SECONDS]) : words);
      const name = element("b", "", entry.label);
      name.title = entry.label;
      text.append(name, note);
      button.append(picture, text);
      const line = element("li");
      line.append(button);
      return line;
    }));
  }

  function showStep() {
    const step = openSteps[openStep].row;
    const before = sourceOf(openStep);
    [...byId("strip").querySelectorAll("button")].forEach((button, index) => button.setAttribute("aria-pressed", index === openStep));
    byId("strip").children[openStep]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    const current = step?.[S_IMAGE] ? openStep : -1;
    const shown = current >= 0 ? current : before;
    const comparable = current >= 0 && before >= 0;
    byId("compare").disabled = !comparable;
    const comparing = comparable && byId("compare").checked;
    byId("viewer").classList.toggle("comparing", comparing);
    setImage(byId("after"), shown, "after");
    setImage(byId("before"), comparing ? before : -1, "before");
    const name = (index) => openSteps[index].label;
    byId("tag-before").textContent = comparing ? `Before: ${name(before)}` : "";
    const plain = step?.[S_OUTCOME] === "s" ? "Unchanged since" : "Last image:";
    byId("tag-after").textContent = comparing ? `After: ${name(shown)}` : shown < 0 ? "" : current >= 0 ? name(shown) : `${plain} ${name(shown)}`;
    byId("message").hidden = shown >= 0;
    byId("message").textContent = "There is no image to show for this step.";
    showInfo(step);
  }

  function setImage(image, index, word) {
    const step = index < 0 ? null : openSteps[index].row;
    image.hidden = !step;
    if (!step) { image.removeAttribute("src"); image.alt = ""; return; }
    image.alt = `${items[openPlace][NAME]}, ${word} ${openSteps[index].label}`;
    image.onload = () => crisp(image);
    image.onerror = () => { byId("message").hidden = false; byId("message").textContent = "The image is not where it was written."; };
    image.src = step[S_IMAGE];
  }

  function table(rows) {
    const node = element("table"), body = element("tbody");
    for (const [name, value] of rows) {
      const line = element("tr"), head = element("th", "", name), cell = element("td");
      head.scope = "row";
      cell.append(value instanceof Node ? value : String(value));
      line.append(head, cell);
      body.append(line);
    }
    node.append(body);
    return node;
  }

  function copyable(text) {
    const line = element("div", "copy"), button = element("button", "button small", "Copy");
    button.type = "button";
    button.onclick = async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
      catch { getSelection().selectAllChildren(line.firstElementChild); button.textContent = "Selected"; }
    };
    line.append(element("code", "", text), button);
    return line;
  }

  function showInfo(step) {
    const row = items[openPlace], details = openDetails, parts = [];
    const section = (title, ...nodes) => parts.push(element("h3", "", title), ...nodes);
    const text = (value) => { const node = element("p", "", value); node.dir = "auto"; return node; };
    if (row[ERROR]) {
      const box = element("p", "error");
      box.append(element("b", "", details[D_ERROR_STEP] ? `At step ${details[D_ERROR_STEP]}: ` : ""), row[ERROR]);
      section("Why it stopped", box);
    }
    if (details[D_WARNINGS].length) {
      const list = element("ul", "warnings");
      list.append(...details[D_WARNINGS].map((warning) => element("li", "", warning)));
      section("Warnings", list);
    }
    parts.push(wayDisclosure());
    if (row[PROMPT]) section("Prompt", text(row[PROMPT]));
    if (details[D_NEGATIVE]) section("Negative prompt", text(details[D_NEGATIVE]));
    const open = openSteps[openStep], [id, kind, when] = config.steps[open.index];
    const outcome = step ? OUTCOME_NAMES[step[S_OUTCOME]] : "not reached";
    const about = [["Outcome", isAside(open) ? `${outcome}, and set aside` : outcome]];
    if (kind !== id) about.push(["Kind", kind]);
    if (when) about.push(["Condition", element("code", "", when)]);
    if (step?.[S_OUTCOME] === "c") about.push(["Compute time", duration(step[S_SECONDS])]);
    if (step?.[S_FINGERPRINT]) about.push(["Size", `${step[S_WIDTH]} × ${step[S_HEIGHT]} px, ${bytes(step[S_SIZE])}`]);
    if (step?.[S_ERROR] && step[S_ERROR] !== row[ERROR]) about.push(["Error", step[S_ERROR]]);
    section(`Step ${open.label}`, table(about));
    if (step?.[S_FACTS]?.length) section("Facts", table(step[S_FACTS]));
    if (step?.[S_FINGERPRINT]) section("Fingerprint", copyable(step[S_FINGERPRINT]));
    const item = [["Seed", details[D_SEED]]];
    for (const [name, value] of details[D_VARS]) item.push([name, value]);
    if (details[D_INPUT]) item.push(["Input image", details[D_INPUT]]);
    if (details[D_MASK]) item.push(["Mask", details[D_MASK]]);
    for (const [stepId, href] of details[D_FINALS]) {
      const link = element("a", "", decodeURIComponent(href.split("/").pop()));
      link.href = href;
      link.target = "_blank";
      link.rel = "noopener";
      item.push([details[D_FINALS].length > 1 ? `Final, ${stepId}` : "Final image", link]);
    }
    section("Item", table(item));
    const scrolled = shownItem === openPlace ? byId("info").scrollTop : 0;
    shownItem = openPlace;
    byId("info").replaceChildren(...parts);
    byId("info").scrollTop = scrolled;
  }

  // -- the way: why the image came out so -----------------------------------------------------------------------------
  function wayDisclosure() {
    const node = element("details", "way"), list = element("ol");
    node.open = wayIsOpen;
    node.append(element("summary", "", "Why it came out so"), list);
    const place = openPlace;
    const fill = () => {
      if (!node.open || list.childElementCount) return;
      wayOf(place).then((lines) => { if (!list.childElementCount) list.append(...lines.map(wayLine)); });
    };
    node.ontoggle = () => { wayIsOpen = node.open; fill(); };
    fill();
    return node;
  }

  function wayLine(line) {
    const node = element("li", `tone-${line[W_TONE]}`);
    node.style.setProperty("--depth", line[W_DEPTH]);
    const index = line[W_VISIT] ? openSteps.findIndex((step) => step.visit === line[W_VISIT]) : -1;
    const head = element(index < 0 ? "b" : "button", "", line[W_TEXT]);
    if (index >= 0) {
      head.type = "button";
      head.title = "Show this image";
      head.onclick = () => { openStep = index; showStep(); };
    }
    node.append(head);
    if (line[W_DETAIL]) node.append(" ", element("span", "", line[W_DETAIL]));
    return node;
  }

  // -- controls -----------------------------------------------------------------------------------------------------
  function remembered(name, value) {
    try {
      if (value === undefined) return localStorage.getItem(`pixelmill-${name}`);
      localStorage.setItem(`pixelmill-${name}`, value);
    } catch { /* a browser may refuse storage to pages from a folder */ }
    return null;
  }

  function setTheme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    byId("theme").setAttribute("aria-label", `Color scheme: ${theme || "automatic"}`);
    byId("theme").title = byId("theme").getAttribute("aria-label");
  }

  function setSize(pixels) {
    document.documentElement.style.setProperty("--card", `${pixels}px`);
    byId("size").value = pixels;
  }

  byId("toolbar").onsubmit = (event) => event.preventDefault();
  byId("q").oninput = () => go({ q: byId("q").value.trim(), page: "" });
  byId("sort").onchange = () => go({ sort: byId("sort").value, page: "" });
  byId("step").onchange = () => go({ step: byId("step").value, outcome: "", page: "" });
  byId("outcome").onchange = () => go({ outcome: byId("outcome").value, page: "" });
  for (const radio of document.getElementsByName("status")) radio.onchange = () => go({ status: radio.value, page: "" });
  for (const button of document.querySelectorAll("[data-step]")) {
    button.onclick = () => go({ q: "", status: "", step: button.dataset.step, outcome: button.dataset.outcome, page: "" }, { remember: true });
  }
  byId("skip").onclick = (event) => { event.preventDefault(); byId("grid").focus(); };
  byId("clear").onclick = () => { byId("q").value = ""; go({ q: "", status: "", step: "", outcome: "", page: "" }); };
  byId("theme").onclick = () => {
    const themes = ["", "light", "dark"];
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme || "") + 1) % 3];
    setTheme(theme);
    remembered("theme", theme);
  };
  byId("size").oninput = () => { setSize(byId("size").value); remembered("size", byId("size").value); };
  byId("slider").oninput = () => byId("viewer").style.setProperty("--split", `${byId("slider").value}%`);
  byId("compare").onchange = showStep;
  byId("backdrop").onclick = () => {
    const names = Object.keys(BACKDROPS), viewer = byId("viewer");
    viewer.dataset.backdrop = names[(names.indexOf(viewer.dataset.backdrop) + 1) % names.length];
    byId("backdrop").textContent = `Backdrop: ${BACKDROPS[viewer.dataset.backdrop]}`;
  };
  byId("previous-item").onclick = () => neighbour(-1);
  byId("next-item").onclick = () => neighbour(1);
  byId("close").onclick = () => go({ item: "" });
  byId("dialog").oncancel = (event) => { event.preventDefault(); go({ item: "" }); };
  byId("dialog").onclick = (event) => { if (event.target === byId("dialog")) go({ item: "" }); };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (openPlace !== null && event.key === "ArrowLeft") neighbour(-1);
    else if (openPlace !== null && event.key === "ArrowRight") neighbour(1);
    else if (openPlace === null && event.key === "/") { event.preventDefault(); byId("q").focus(); }
  });
  addEventListener("hashchange", update);
  addEventListener("popstate", update);
  new IntersectionObserver(([entry]) => byId("toolbar").classList.toggle("stuck", entry.intersectionRatio < 1),
    { rootMargin: "-1px 0px 0px 0px", threshold: [1] }).observe(byId("toolbar"));

  setTheme(remembered("theme") || "");
  setSize(remembered("size") || 200);
  if (config.lists.length) config.lists.forEach(loadScript);
  else update();
  return { items: receiveItems, details: receiveDetails, ways: receiveWays };
})();
