// The controls around the grid, and the start of the page.

function showControls(view) {
  if (document.activeElement !== byId("q")) byId("q").value = view.q;
  for (const radio of document.getElementsByName("status")) radio.checked = radio.value === view.status;
  byId("step").value = view.step;
  byId("outcome").value = view.outcome || "visited";
  byId("outcome").disabled = !view.step;
  byId("sort").value = view.sort;
}

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
byId("previous-item").onclick = () => neighbor(-1);
byId("next-item").onclick = () => neighbor(1);
byId("close").onclick = () => go({ item: "" });
byId("dialog").oncancel = (event) => { event.preventDefault(); go({ item: "" }); };
byId("dialog").onclick = (event) => { if (event.target === byId("dialog")) go({ item: "" }); };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (openItem !== null && event.key === "ArrowLeft") neighbor(-1);
  else if (openItem !== null && event.key === "ArrowRight") neighbor(1);
  else if (openItem === null && event.key === "/") { event.preventDefault(); byId("q").focus(); }
});
addEventListener("hashchange", update);
addEventListener("popstate", update);
new IntersectionObserver(([entry]) => byId("toolbar").classList.toggle("stuck", entry.intersectionRatio < 1),
  { rootMargin: "-1px 0px 0px 0px", threshold: [1] }).observe(byId("toolbar"));

setTheme(remembered("theme") || "");
setSize(remembered("size") || 200);
if (config.lists.length) config.lists.forEach(readFile);
else update();
