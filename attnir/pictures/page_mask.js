// Colours, and the picture of the mask with the row tile of the query on it.

function rgb(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(value.slice(i, i + 2), 16));
}

// A colour for a key: (status, live, order) -> [r, g, b].
function palette(latest) {
  const dead = ["--empty", "--partial", "--full"].map(rgb);
  const alive = ["--empty", "--partial-live", "--full-live"].map(rgb);
  if (!state.order) return (status, live) => (live ? alive : dead)[status];
  const [early, late] = [rgb("--early"), rgb("--late")];
  const shade = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--order-live"));
  const toward = shade < 0 ? 255 : 0;
  return (status, live, order) => {
    if (!order) return dead[0];
    const t = latest > 1 ? (order - 1) / (latest - 1) : 0;
    const mixed = early.map((c, i) => c + (late[i] - c) * t);
    return live ? mixed.map((c) => c + (toward - c) * Math.abs(shade)) : mixed;
  };
}

const latestOf = (scene) => Math.max(1, ...scene.walk.tiles.map((t) => t[2].length));

function paint(canvas, width, height, colourAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let y = 0, i = 0; y < height; y++) {
    const row = colourAt(y);
    for (let x = 0; x < width; x++, i += 4) {
      const [r, g, b] = row(x);
      image.data[i] = r; image.data[i + 1] = g; image.data[i + 2] = b; image.data[i + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

function drawMask(scene) {
  const { q_len, k_len } = scene.sizes;
  const colour = palette(latestOf(scene));
  let last = -1;
  let visits = null;
  paint(at("mask"), k_len, q_len, (q) => {
    if (scene.rowTile[q] !== last || !visits) visits = visitsOf(scene, q);
    last = scene.rowTile[q];
    return (k) => colour(visits.status[k], isLive(scene, q, k), visits.order[k]);
  });
  at("mask").setAttribute("aria-label", `${q_len} queries by ${k_len} keys; ${scene.walk.counts.live} pairs are live`);
  at("stack").style.maxWidth = k_len < q_len ? `${Math.max(30, (100 * k_len) / q_len)}%` : "";
  at("mask").style.aspectRatio = `${k_len} / ${q_len}`;
}

// The row tile of the query, what it visits, and the query's own row.
function drawMark(scene, query) {
  const { q_len, k_len } = scene.sizes;
  const canvas = at("mark");
  const { width, height } = at("mask").getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(canvas.width / k_len, canvas.height / q_len);
  const pixel = k_len / width;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--query").trim();
  const tile = scene.walk.tiles[scene.rowTile[query]];
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = pixel;
  if (tile) {
    for (const [a, b] of tile[1]) {
      context.globalAlpha = 0.1;
      context.fillRect(0, a, k_len, b - a);
      context.globalAlpha = 0.75;
      if (b - a > 3 * (q_len / height)) tile[2].forEach(([, runs]) => runs.forEach(([c, d]) => context.strokeRect(c, a, d - c, b - a)));
    }
  }
  context.globalAlpha = 1;
  const line = (1.5 * q_len) / height;  // in rows
  if (line < 0.3) {
    context.fillRect(0, query - line / 2, k_len, line);
    context.fillRect(0, query + 1 - line / 2, k_len, line);
  } else {
    context.fillRect(0, query + 0.5 - Math.max(1, line) / 2, k_len, Math.max(1, line));
  }
}

