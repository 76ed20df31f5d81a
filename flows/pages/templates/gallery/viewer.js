// The dialog that shows one item: its image after each step, compared with the one before, and what is known of it.
const BACKDROPS = { checker: "checkers", white: "white", black: "black", magenta: "magenta" };

let openItem = null;     // the index of the item that is shown
let openDetails = null, openSteps = [], openStep = 0;
let infoItem = null;     // the item in the panel beside the image
let linesAreOpen = false; // whether the explanation is unfolded: stays from item to item

function closeItem() {
  openItem = null;
  if (byId("dialog").open) byId("dialog").close();
}

function showItem(index) {
  const position = found.indexOf(index);
  byId("position").textContent = position < 0 ? "" : `${number(position + 1)} of ${number(found.length)}`;
  byId("previous-item").disabled = position < 1;
  byId("next-item").disabled = position < 0 || position >= found.length - 1;
  if (openItem === index) return;
  openItem = index;
  const item = items[index];
  byId("item-name").textContent = item.name;
  byId("item-state").textContent = byId("item-state").dataset.state = config.states[item.state];
  if (!byId("dialog").open) { byId("dialog").showModal(); byId("close").focus(); }
  detailsOf(index).then((details) => {
    if (openItem !== index) return;
    openDetails = details;
    openSteps = stepsOf(details);
    openStep = startingStep();
    showStrip();
    showStep();
  });
}

// Every step of the recipe and each further attempt at one, in the order of the item's path.
function stepsOf(details) {
  const steps = config.steps.map(([id], index) => ({ visit: id, index, label: id, row: details.steps[index] }));
  for (const { visit, position, attempt, row } of details.attempts) {
    steps.push({ visit, index: position, label: `${config.steps[position][0]}, attempt ${attempt}`, row });
  }
  // A visit that the page does not know, from a recipe that this installation cannot follow, stands after its step's first.
  const order = ({ visit, index }) => {
    const known = config.visits.indexOf(visit);
    return known < 0 ? config.visits.indexOf(config.steps[index][0]) + 0.5 : known;
  };
  return steps.sort((a, b) => order(a) - order(b));
}

const isAside = (step) => step.row?.counts === false;

// The step that made the card's image, or else the one that failed.
function startingStep() {
  const failed = openSteps.findIndex((step) => step.row && step.row.outcome === "f");
  if (failed >= 0) return failed;
  return Math.max(0, openSteps.findLastIndex((step) => step.row?.image && !isAside(step)));
}

// The index of the step whose image went into this one, or -1.
function sourceOf(index) {
  const source = openSteps[index].row?.source;
  if (source !== undefined) return openSteps.findIndex((step) => step.visit === source && step.row?.image);
  return openSteps.findLastIndex((step, other) => other < index && step.row?.image && !isAside(step));
}

function neighbor(offset) {
  const index = found[found.indexOf(openItem) + offset];
  if (index !== undefined && found.includes(openItem)) go({ item: index });
}

const duration = (seconds) => seconds >= 60 ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  : seconds >= 10 ? `${seconds.toFixed(1)} s` : seconds >= 0.1 ? `${seconds.toFixed(2)} s` : `${Math.round(seconds * 1000)} ms`;
const bytes = (size) => size < 1e3 ? `${size} bytes` : size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;

function showStrip() {
  byId("strip").replaceChildren(...openSteps.map((entry, index) => {
    const step = entry.row;
    const outcome = OUTCOME_NAMES[step ? step.outcome : "-"];
    const button = element("button");
    button.classList.toggle("aside", isAside(entry));
    button.classList.toggle("again", entry.label !== config.steps[entry.index][0]);
    button.type = "button";
    button.onclick = () => { openStep = index; showStep(); };
    const picture = element("span", "picture"), image = element("img"), missing = element("span", "missing");
    missing.hidden = true;
    picture.append(image, missing);
    const words = outcome === "unreached" ? "not reached" : outcome;
    showPicture(image, missing, { image: step?.image, thumbnail: step?.thumbnail && step.fingerprint }, words, `after ${entry.label}`);
    const text = element("span", "text"), note = element("span");
    note.append(element("i", `dot bg-${outcome}`), isAside(entry) ? "set aside"
      : outcome === "computed" ? duration(step.seconds) : words);
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
  const current = step?.image ? openStep : -1;
  const shown = current >= 0 ? current : before;
  const comparable = current >= 0 && before >= 0;
  byId("compare").disabled = !comparable;
  const comparing = comparable && byId("compare").checked;
  byId("viewer").classList.toggle("comparing", comparing);
  setImage(byId("after"), shown, "after");
  setImage(byId("before"), comparing ? before : -1, "before");
  const name = (index) => openSteps[index].label;
  byId("tag-before").textContent = comparing ? `Before: ${name(before)}` : "";
  const plain = step?.outcome === "s" ? "Unchanged since" : "Last image:";
  byId("tag-after").textContent = comparing ? `After: ${name(shown)}` : shown < 0 ? "" : current >= 0 ? name(shown) : `${plain} ${name(shown)}`;
  byId("message").hidden = shown >= 0;
  byId("message").textContent = "There is no image to show for this step.";
  showInfo(step);
}

function setImage(image, index, word) {
  const step = index < 0 ? null : openSteps[index].row;
  image.hidden = !step;
  if (!step) { image.removeAttribute("src"); image.alt = ""; return; }
  image.alt = `${items[openItem].name}, ${word} ${openSteps[index].label}`;
  image.onload = () => crisp(image);
  image.onerror = () => { byId("message").hidden = false; byId("message").textContent = "The image is not where it was written."; };
  image.src = step.image;
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
  button.onclick = async () => { button.textContent = await copy(text, line.firstElementChild); };
  line.append(element("code", "", text), button);
  return line;
}

function showInfo(step) {
  const item = items[openItem], details = openDetails, parts = [];
  const section = (title, ...nodes) => parts.push(element("h3", "", title), ...nodes);
  const text = (value) => { const node = element("p", "", value); node.dir = "auto"; return node; };
  if (item.error) {
    const box = element("p", "error");
    box.append(element("b", "", details.error_step ? `At step ${details.error_step}: ` : ""), item.error);
    section("Why it stopped", box);
  }
  if (details.warnings.length) {
    const list = element("ul", "warnings");
    list.append(...details.warnings.map((warning) => element("li", "", warning)));
    section("Warnings", list);
  }
  parts.push(explanation());
  if (item.prompt) section("Prompt", text(item.prompt));
  if (details.negative_prompt) section("Negative prompt", text(details.negative_prompt));
  const open = openSteps[openStep], [id, kind, when] = config.steps[open.index];
  const outcome = step ? OUTCOME_NAMES[step.outcome] : "not reached";
  const stepRows = [["Outcome", isAside(open) ? `${outcome}, and set aside` : outcome]];
  if (kind !== id) stepRows.push(["Kind", kind]);
  if (when) stepRows.push(["Condition", element("code", "", when)]);
  if (step?.outcome === "c") stepRows.push(["Compute time", duration(step.seconds)]);
  if (step?.fingerprint) stepRows.push(["Size", `${step.width} × ${step.height} px, ${bytes(step.size)}`]);
  if (step?.error && step.error !== item.error) stepRows.push(["Error", step.error]);
  section(`Step ${open.label}`, table(stepRows));
  if (step?.facts?.length) section("Facts", table(step.facts));
  if (step?.fingerprint) section("Fingerprint", copyable(step.fingerprint));
  const itemRows = [["Seed", details.seed], ...details.vars];
  if (details.input) itemRows.push(["Input image", details.input]);
  if (details.mask) itemRows.push(["Mask", details.mask]);
  for (const [stepId, href] of details.finals) {
    const link = element("a", "", decodeURIComponent(href.split("/").pop()));
    link.href = href;
    link.target = "_blank";
    link.rel = "noopener";
    itemRows.push([details.finals.length > 1 ? `Final, ${stepId}` : "Final image", link]);
  }
  section("Item", table(itemRows));
  const scrolled = infoItem === openItem ? byId("info").scrollTop : 0;
  infoItem = openItem;
  byId("info").replaceChildren(...parts);
  byId("info").scrollTop = scrolled;
}

function explanation() {
  const node = element("details", "way"), list = element("ol");
  node.open = linesAreOpen;
  node.append(element("summary", "", "Why it came out so"), list);
  const index = openItem;
  const fill = async () => {
    if (!node.open || list.childElementCount) return;
    const lines = await linesOf(index);
    if (!list.childElementCount) list.append(...lines.map(explanationLine));
  };
  node.ontoggle = () => { linesAreOpen = node.open; fill(); };
  fill();
  return node;
}

function explanationLine(line) {
  const node = element("li", `tone-${line.tone}`);
  node.style.setProperty("--depth", line.depth);
  const index = line.visit ? openSteps.findIndex((step) => step.visit === line.visit) : -1;
  const head = element(index < 0 ? "b" : "button", "", line.text);
  if (index >= 0) {
    head.type = "button";
    head.title = "Show this image";
    head.onclick = () => { openStep = index; showStep(); };
  }
  node.append(head);
  if (line.detail) node.append(" ", element("span", "", line.detail));
  return node;
}
