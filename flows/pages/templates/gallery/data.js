// Items, read from the gallery's data files.
let items = [];     // all items so far; an item is known by its index here
let haystacks = []; // what the search looks at, in lower case
const lists = [];   // arrays of items, by number of their file
const detailFiles = new Map(), lineFiles = new Map(); // number -> { promise, resolve }

function readFile(name) {
  loadScript(name, {
    onerror: () => {
      byId("result").textContent = `A file of the gallery could not be read: ${name}. Keep it beside this page.`;
    },
  });
}

function receiveItems(file, rows) {
  lists[file] = rows.map((row) => named("item", row));
  // Up to the first file that is missing: what lies behind it would take another item's index.
  const gap = Array.from(lists).indexOf(undefined);
  items = lists.slice(0, gap < 0 ? undefined : gap).flat();
  haystacks = items.map((item) => `${item.name}\n${item.prompt || ""}\n${item.error || ""}`.toLowerCase());
  shownFilters = null;
  update();
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
