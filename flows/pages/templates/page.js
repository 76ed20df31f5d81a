// Parts of all pages of a job. Names, prompts and messages come from strangers: they enter a page through textContent and
// setAttribute only.
const byId = (id) => document.getElementById(id);
const config = JSON.parse(byId("config").textContent);
const number = (value) => value.toLocaleString("en-US");

// Rows of data files are lists, to be short; the page's config has the names of their fields.
function named(kind, row) {
  const object = {};
  config.fields[kind].forEach((field, index) => { object[field] = row[index]; });
  return object;
}

function element(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== "") node.textContent = text;
  return node;
}

// Shows the thumbnail of an image if it has one, or else the image itself; `onerror` is called if there is neither.
function showSmall(node, link, fingerprint, onerror = null) {
  const small = fingerprint ? `thumbnails/${fingerprint}.webp` : link;
  node.onerror = () => {
    node.onerror = onerror;
    if (small !== link) node.src = link;
    else onerror?.();
  };
  node.src = small;
}

function loadScript(name, { onerror = null } = {}) {
  const script = element("script");
  script.src = name;
  script.async = false;
  script.onerror = onerror;
  document.head.append(script);
}

// Copies the text, or selects the node that shows it where a browser refuses. Returns which.
async function copy(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(node);
    return "Selected";
  }
}
