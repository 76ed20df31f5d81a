// Items, read from the gallery's data files.
const items = [];     // all items so far; an item is known by its index here
const haystacks = []; // what the search looks at, in lower case; made when something is searched for
const lists = [];     // arrays of items, by number of their file
let listsRead = 0;
const detailFiles = new Map(), lineFiles = new Map(); // number -> { promise, resolve }

function readFile(name) {
  loadScript(name, {
    onerror: () => {
      byId("result").textContent = `A file of the gallery could not be read: ${name}. Keep it beside this page.`;
    },
  });
}

function receiveItems(file, rows) {
  lists[file] = rows;
  // Up to the first file that is missing: what lies behind it would take another item's index.
  for (; lists[listsRead]; listsRead++) for (const row of lists[listsRead]) items.push(named("item", row));
  shownFilters = null;
  update();
}

function haystack(index) {
  const { name, prompt, error } = items[index];
  return haystacks[index] ??= `${name}\n${prompt || ""}\n${error || ""}`.toLowerCase();
}

// The row of an item in files that hold `perDetails` of them each; a file is read when it is first needed.
async function rowOf(index, files, names) {
  const file = Math.floor(index / config.perDetails);
  if (!files.has(file)) {
    const entry = {};
    entry.promise = new Promise((resolve) => { entry.resolve = resolve; });
    files.set(file, entry);
    readFile(names[file]);
  }
  return (await files.get(file).promise)[index % config.perDetails];
}

async function detailsOf(index) {
  const details = named("details", await rowOf(index, detailFiles, config.details));
  const step = (row) => row && named("step", row);
  details.steps = details.steps.map(step);
  details.attempts = details.attempts.map(([visit, position, attempt, row]) => ({ visit, position, attempt, row: step(row) }));
  return details;
}

// Why an item came out as it did, line by line.
const linesOf = async (index) => (await rowOf(index, lineFiles, config.ways)).map((row) => named("line", row));

globalThis.pixelmill = { // what the data files call
  items: receiveItems,
  details: (file, rows) => detailFiles.get(file)?.resolve(rows),
  ways: (file, rows) => lineFiles.get(file)?.resolve(rows),
};
