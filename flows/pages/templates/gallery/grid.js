// The grid of cards, a page of it at a time.

// Enlarged pixel art and small previews stay crisp instead of blurred; photographs are never enlarged that far.
function crisp(image) {
  const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
  image.style.imageRendering = scale * devicePixelRatio >= 2 ? "pixelated" : "auto";
}

function showPicture(image, missing, { image: link, thumbnail }, words, alternative) {
  const miss = (text) => { missing.hidden = false; missing.textContent = text; image.hidden = true; };
  if (!link) return miss(words);
  image.alt = alternative;
  image.onload = () => crisp(image);
  showSmall(image, link, thumbnail, () => miss("The image is not where it was written."));
}

function card(index, view) {
  const item = items[index];
  const state = config.states[item.state];
  const node = byId("card").content.firstElementChild.cloneNode(true);
  const link = node.querySelector("a");
  link.href = address({ ...view, item: index });
  link.title = item.prompt || item.name;
  link.classList.toggle("unfinished", state !== "done");
  node.querySelector(".name").textContent = item.name;
  const badge = node.querySelector(".badge");
  badge.textContent = state;
  badge.dataset.state = state;
  const warned = node.querySelector(".warned");
  warned.hidden = !item.warnings;
  warned.textContent = item.warnings === 1 ? "1 warning" : `${item.warnings} warnings`;
  const words = item.error || (state === "pending" ? "Not made yet" : "No image");
  showPicture(node.querySelector("img"), node.querySelector(".missing"), item, words, item.prompt || item.name);
  node.querySelector(".pips").append(...[...item.outcomes].map((code) => element("i", `bg-${OUTCOME_NAMES[code]}`)));
  return node;
}

let shownCards = null; // what the cards in the grid stand for: further items may come without changing them

function showGrid(view) {
  const pages = Math.max(1, Math.ceil(found.length / config.perPage));
  const page = Math.min(Math.max(1, parseInt(view.page, 10) || 1), pages);
  const first = (page - 1) * config.perPage;
  const shown = found.slice(first, first + config.perPage);
  const cards = JSON.stringify([view, page, shown]);
  if (cards !== shownCards) byId("grid").replaceChildren(...shown.map((index) => card(index, { ...view, page: page > 1 ? page : "" })));
  shownCards = cards;
  const range = shown.length < found.length ? `${number(first + 1)} to ${number(first + shown.length)} of ` : "";
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
