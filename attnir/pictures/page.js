// The controls: state is what they say, `show` draws it.

let latest = 0;

async function show() {
  const mine = ++latest;
  const scene = await sceneOf(state.length, state.tile, state.head);
  if (mine !== latest) return;
  state.scene = scene;
  state.query = Math.min(state.query, scene.sizes.q_len - 1);
  at("query").max = scene.sizes.q_len - 1;
  at("query").value = state.query;
  drawMask(scene);
  drawCounts(scene);
  drawWords(scene);
  choose(state.query);
  document.body.dataset.shown = `${state.length}.${state.tile}.${state.head}`;
}

function choose(query) {
  state.query = query;
  at("query").value = query;
  at("held").hidden = !state.held;
  at("query").setAttribute("aria-valuetext", coordinates(state.scene.sizes.queries, state.scene.sizes.q_start + query));
  drawMark(state.scene, query);
  drawQuery(state.scene, query);
}

function queryUnder(event) {
  const box = at("mask").getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * state.scene.sizes.q_len);
  return Math.max(0, Math.min(state.scene.sizes.q_len - 1, row));
}

function fill(id, texts, chosen) {
  at(id).replaceChildren(...texts.map((text, i) => new Option(text, i, i === chosen, i === chosen)));
  at(id).disabled = texts.length === 1;
  at(id).addEventListener("change", () => { state[id] = Number(at(id).value); show(); });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").textContent = theme === "dark" ? "light theme" : "dark theme";
  if (state.scene) show();
}

function begin() {
  Object.assign(state, data.start);
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  fill("length", data.lengths.map((s) => (s.q_len === s.k_len ? `${s.q_len}` : `${s.q_len} x ${s.k_len}`)), state.length);
  fill("head", data.heads.map((h) => `${h}`), state.head);
  fill("tile", data.tiles.map(([q, k]) => `${q} x ${k}`), state.tile);
  at("order").checked = state.order;
  at("note").textContent = [
    data.lengths[0].keys.length || data.lengths[0].queries.length ? "the grid fixes the length" : "",
    data.all_heads > data.heads.length && data.heads.length > 1 ? `${data.heads.length} of ${data.all_heads} heads` : "",
    data.alike ? "every head is alike" : data.all_heads === 1 ? "head 0 alone: give heads=8 to see more" : "",
    data.samples > 1 ? `sample ${data.sample} of ${data.samples}` : "",
  ].filter(Boolean).join("; ");
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("order").addEventListener("change", () => { state.order = at("order").checked; show(); });
  at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  at("query").addEventListener("input", () => { state.held = true; choose(Number(at("query").value)); });
  at("stack").addEventListener("pointermove", (event) => { if (state.scene && !state.held) choose(queryUnder(event)); });
  at("stack").addEventListener("click", (event) => {
    if (!state.scene) return;
    state.held = !state.held;
    choose(queryUnder(event));
  });
  window.addEventListener("resize", () => { if (state.scene) drawMark(state.scene, state.query); });
  return show();
}

begin().catch((error) => {
  at("trouble").hidden = false;
  at("trouble").textContent = `The page cannot be drawn: ${error.message}. It needs a browser of 2023 or later.`;
});
