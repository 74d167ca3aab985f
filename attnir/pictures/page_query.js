// One query: its keys, what its row tile visits, where the keys lie; and the counts.

const number = (n) => n.toLocaleString("en-US");

function drawQuery(scene, query) {
  const { q_start, k_len } = scene.sizes;
  const keys = [...Array(k_len).keys()].filter((k) => isLive(scene, query, k));
  const visits = visitsOf(scene, query);
  at("query-at").textContent = coordinates(scene.sizes.queries, q_start + query);
  at("keys-count").textContent = `${number(keys.length)} ${keys.length === 1 ? "key" : "keys"}${keys.length ? ":" : ""}`;
  at("keys").textContent = keys.length ? inSpace(scene.sizes.keys, runsOf(keys), MOST_RUNS) : "this query sees nothing; its output is 0";
  const colour = palette(latestOf(scene));
  paint(at("strip"), k_len, 1, () => (k) => colour(visits.status[k], isLive(scene, query, k), visits.order[k]));
  at("strip").setAttribute("aria-label", `Query ${q_start + query} sees ${keys.length} of ${k_len} keys`);
  drawVisits(scene, visits.tile);
  drawNear(scene, query, visits, colour);
}

function drawVisits(scene, tile) {
  const made = tile ? tile[2] : [];
  const positions = tile ? tile[1].map(([a, b]) => [a + scene.sizes.q_start, b + scene.sizes.q_start]) : [];
  const rows = inSpace(scene.sizes.queries, positions, 4);
  const launches = new Set(scene.walk.tiles.map((t) => t[0])).size;
  const launch = launches > 1 && tile ? ` (launch ${tile[0] + 1} of ${launches})` : "";
  at("tiles-count").textContent = `Its tile has the queries ${rows}${launch} and visits ${made.length} `
    + `${made.length === 1 ? "tile" : "tiles"} of keys, in this order:`;
  at("visits").replaceChildren(...made.slice(0, MOST_VISITS).map(([code, runs], n) => {
    const item = document.createElement("li");
    item.className = NAMES[code];
    item.textContent = `${n + 1}. ${inSpace(scene.sizes.keys, runs, 2) || "past the end"} ${NAMES[code]}`;
    return item;
  }));
  if (made.length > MOST_VISITS) {
    const item = document.createElement("li");
    item.textContent = `and ${made.length - MOST_VISITS} more`;
    at("visits").append(item);
  }
}

// The images of the regions of the keys: of two axes one, of more one for each coordinate before the last two.
function drawNear(scene, query, visits, colour) {
  const regions = scene.sizes.keys;
  at("near").hidden = !regions.length;
  const wanted = regions.flatMap(([name, start, axes, sizes], r) => {
    const [height, width] = sizes.length > 1 ? sizes.slice(-2) : [1, sizes[0]];
    const count = sizes.slice(0, -2).reduce((a, b) => a * b, 1);
    return [...Array(count).keys()].map((i) => ({ r, name, axes, sizes, start: start + i * width * height, height, width, i, count }));
  });
  if (at("regions").dataset.for !== `${state.length}`) {
    at("regions").dataset.for = `${state.length}`;
    at("regions").replaceChildren(...regions.map((_, r) => {
      const row = document.createElement("div");
      row.className = "images";
      row.append(...wanted.filter((w) => w.r === r).map(figureOf));
      return row;
    }));
  }
  const own = scene.sizes.same ? scene.sizes.q_start + query : -1;
  const red = rgb("--own");
  const canvases = at("regions").querySelectorAll("canvas");
  wanted.forEach((w, n) => paintCells(canvases[n], w, (k) => (k === own ? red
    : colour(visits.status[k], isLive(scene, query, k), visits.order[k])), visits.order));
}

// An image of tokens, with lines where one tile meets another.
function paintCells(canvas, { start, width, height }, colourOf, order) {
  const cell = Number(canvas.dataset.cell);
  canvas.width = width * cell;
  canvas.height = height * cell;
  const context = canvas.getContext("2d");
  const line = getComputedStyle(document.documentElement).getPropertyValue("--card");
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const k = start + y * width + x;
      context.fillStyle = `rgb(${colourOf(k).map(Math.round).join(" ")})`;
      context.fillRect(x * cell, y * cell, cell, cell);
      context.fillStyle = line;
      if (x + 1 < width && order[k] !== order[k + 1]) context.fillRect((x + 1) * cell - 1, y * cell, 1, cell);
      if (y + 1 < height && order[k] !== order[k + width]) context.fillRect(x * cell, (y + 1) * cell - 1, cell, 1);
    }
  }
}

function figureOf({ name, axes, sizes, height, width, i, count }) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const canvas = document.createElement("canvas");
  const outer = [];
  for (let a = sizes.length - 3, rest = i; a >= 0; a--) {
    outer.unshift(`${axes[a]} = ${rest % sizes[a]}`);
    rest = Math.floor(rest / sizes[a]);
  }
  const plane = sizes.length > 1 ? `${axes.slice(-2).join(" down, ")} across` : axes[0];
  caption.textContent = [name && name !== axes[0] ? name : "", outer.join(", ") || plane].filter(Boolean).join(": ");
  const room = count > 1 ? 104 : 352;
  canvas.dataset.cell = Math.max(2, Math.min(24, Math.floor(room / Math.max(height, width))));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `keys of the query, ${caption.textContent}`);
  figure.append(caption, canvas);
  return figure;
}

const ratio = (visited, live) => (live ? (visited / live).toFixed(3) : visited ? "none live" : "0.000");

function drawCounts(scene) {
  const [one, all] = [scene.walk.counts, scene.text.counts];
  const copies = data.all_heads * data.samples;
  const rows = [
    ["live", "live pairs", (c) => number(c.live)],
    ["visited", "visited pairs", (c) => number(c.visited)],
    ["over", "over-compute (visited / live)", (c) => ratio(c.visited, c.live)],
    ["full", "full tiles", (c) => number(c.full)],
    ["partial", "partial tiles", (c) => number(c.partial)],
    ["empty", "empty tiles", (c) => number(c.empty)],
  ];
  at("counts").tBodies[0].replaceChildren(...rows.map(([id, name, of]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cells = [[`one-${id}`, one, ""], [`all-${id}`, all, "total"]].map(([cell, counts, kind]) => {
      const td = document.createElement("td");
      td.id = cell;
      td.className = kind;
      td.textContent = of(counts);
      return td;
    });
    row.append(head, ...cells);
    return row;
  }));
  at("this-head").textContent = copies > 1 ? `head ${data.heads[state.head]}` : "";
  at("counts").tHead.hidden = copies === 1;
  document.querySelectorAll(".total").forEach((e) => { e.hidden = copies === 1; });
  const many = [data.samples > 1 ? `${data.samples} samples` : "", `${data.all_heads} heads`].filter(Boolean).join(" x ");
  document.querySelector("th.total").textContent = many;
  at("layout").textContent = `Tiles are ${scene.text.layout}; the kernel reads ${number(all.metadata)} bytes besides q, k, v.`;
}

function drawWords(scene) {
  at("explain").textContent = scene.text.explain;
  const said = scene.text.reasons.length ? scene.text.reasons : ["no tile has to be looked for"];
  at("reasons").replaceChildren(...said.map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason;
    return item;
  }));
  const entries = state.order
    ? [["--early", "visited first"], ["--late", "visited last"], ["--empty", "never visited"]]
    : [["--full-live", "full: live"], ["--partial-live", "partial: live"], ["--partial", "partial: visited, not live"], ["--empty", "empty: not visited"]];
  at("legend").replaceChildren(...entries.map(([colour, text]) => {
    const item = document.createElement("li");
    const swatch = document.createElement("i");
    swatch.style.background = `var(${colour})`;
    item.append(swatch, text);
    return item;
  }));
}

