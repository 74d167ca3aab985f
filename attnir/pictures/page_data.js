"use strict";
// The data of the page, unpacked when it is first shown; and tokens in words.

const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const NAMES = ["empty", "partial", "full"];
const MOST_VISITS = 60;
const MOST_RUNS = 24;
const state = { length: 0, tile: 0, head: 0, query: 0, order: false, held: false, scene: null };
const kept = new Map();

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function fetched(among, key, read) {
  const name = among + key;
  if (!kept.has(name)) kept.set(name, unpack(data[among][key]).then(read));
  return kept.get(name);
}

const asJson = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

// Everything that is drawn for a length, a tile and a head.
async function sceneOf(length, tile, head) {
  const sizes = data.lengths[length];
  const [live, walk, text] = await Promise.all([
    fetched("live", `${length}.${head}`, (bytes) => bytes),
    fetched("walks", `${length}.${tile}.${head}`, asJson),
    fetched("texts", `${length}.${tile}`, asJson),
  ]);
  const scene = { sizes, live, walk, text, rowTile: new Int32Array(sizes.q_len).fill(-1) };
  walk.tiles.forEach(([, rows], i) => rows.forEach(([a, b]) => scene.rowTile.fill(i, a, b)));
  return scene;
}

function isLive(scene, q, k) {
  const bit = q * scene.sizes.k_len + k;
  return (scene.live[bit >> 3] >> (7 - (bit & 7))) & 1;
}

// Of every key of a row tile: the status of its tile, and the number of the first visit.
function visitsOf(scene, query) {
  const status = new Uint8Array(scene.sizes.k_len);
  const order = new Uint16Array(scene.sizes.k_len);
  const tile = scene.walk.tiles[scene.rowTile[query]];
  (tile ? tile[2] : []).forEach(([code, runs], n) =>
    runs.forEach(([a, b]) => {
      for (let k = a; k < b; k++) {
        status[k] = Math.max(status[k], code);
        order[k] = order[k] || n + 1;
      }
    }));
  return { tile, status, order };
}

function runsOf(keys) {
  const runs = [];
  for (const k of keys) {
    if (runs.length && runs[runs.length - 1][1] === k) runs[runs.length - 1][1] = k + 1;
    else runs.push([k, k + 1]);
  }
  return runs;
}

function inWords(runs, most) {
  const said = runs.slice(0, most).map(([a, b]) => (b - a > 1 ? `${a}\u2013${b - 1}` : `${a}`));
  return said.join(", ") + (runs.length > most ? ` and ${runs.length - most} more runs` : "");
}

// Positions, region by region: as ranges along its axes where they are a box of it, "t 1\u20133, y 3\u20137, x 10\u201314".
function inSpace(regions, runs, most) {
  if (!regions.length) return inWords(runs, most);
  return regions.map((region) => {
    const [, start, , sizes] = region;
    const stop = start + sizes.reduce((a, b) => a * b, 1);
    const inside = runs.map(([a, b]) => [Math.max(a, start), Math.min(b, stop)]).filter(([a, b]) => a < b);
    return inside.length ? inRegion(region, inside, most) : "";
  }).filter(Boolean).join("; ");
}

function inRegion([name, start, axes, sizes], runs, most) {
  const low = sizes.map(() => Infinity);
  const high = sizes.map(() => -1);
  let count = 0;
  for (const [a, b] of runs) {
    for (let k = a; k < b; k++, count++) {
      let rest = k - start;
      for (let i = sizes.length - 1; i >= 0; i--) {
        const c = rest % sizes[i];
        rest = Math.floor(rest / sizes[i]);
        low[i] = Math.min(low[i], c);
        high[i] = Math.max(high[i], c);
      }
    }
  }
  const prefix = name && name !== axes[0] ? `${name}: ` : "";
  if (count !== low.reduce((n, l, i) => n * (high[i] - l + 1), 1)) return `${prefix}positions ${inWords(runs, most)}`;
  return prefix + axes.map((axis, i) => `${axis} ${low[i] < high[i] ? `${low[i]}\u2013${high[i]}` : low[i]}`).join(", ");
}

// "t = 3, y = 10, x = 12 (3532)", or the position alone.
function coordinates(regions, position) {
  const region = [...regions].reverse().find(([, start]) => position >= start);
  if (!region) return `${position}`;
  const [name, start, axes, sizes] = region;
  let rest = position - start;
  const found = sizes.map((size, i) => {
    const stride = sizes.slice(i + 1).reduce((a, b) => a * b, 1);
    const value = Math.floor(rest / stride);
    rest -= value * stride;
    return `${axes[i]} = ${value}`;
  });
  return `${name && axes[0] !== name ? `${name}: ` : ""}${found.join(", ")} (${position})`;
}

