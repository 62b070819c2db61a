"use strict";

// What the server said is shown by `textContent` alone, never as HTML.

const ROW = 24; // pixels, as in page.css
const KEPT = 5000; // records in memory
const SEGMENTS = 80; // of the time line
const TOKENS = 4000; // coloured in a message; the rest is plain
const $ = (id) => document.getElementById(id);

const make = (tag, { text, ...rest } = {}, ...children) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(rest)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const count = (number) => number.toLocaleString("en").replaceAll(",", "\u2009");

// Records.

const records = [];
let shown = [];
const held = []; // while paused
let skipped = 0;
let chosen = null;
let paused = false;
let following = true;
const spaces = new Set();

const GROUPS = {
  event: "event", attachment: "event", ack: "ack", connect: "join", connect_error: "join", disconnect: "join",
  ping: "beat", pong: "beat", noop: "beat",
};
const group = (record) => GROUPS[record.kind] ?? "change";
const BAD = new Set(["lost", "failed", "gave_up", "connect_error", "unreadable"]);

const filter = { words: [], namespace: "", direction: "", groups: new Set() };

const readFilter = () => {
  filter.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  filter.namespace = $("namespace").value;
  filter.direction = $("direction").value;
  filter.groups = new Set([...$("filters").querySelectorAll("input:checked")].map((box) => box.name));
};

const fits = (record) => {
  if (!filter.groups.has(group(record))) return false;
  if (filter.direction && record.direction !== filter.direction) return false;
  if (filter.namespace && record.namespace !== filter.namespace) return false;
  if (filter.words.length === 0) return true;
  record.haystack ??= `${record.kind} ${record.namespace ?? ""} ${record.name ?? ""} ${record.text ?? ""}`.toLowerCase();
  return filter.words.every((word) => record.haystack.includes(word));
};

const refilter = () => {
  readFilter();
  shown = records.filter(fits);
  following = true;
  render();
};

const add = (fresh) => {
  for (const record of fresh) {
    records.push(record);
    if (fits(record)) shown.push(record);
    if (record.namespace && !spaces.has(record.namespace) && spaces.size < 200) {
      spaces.add(record.namespace);
      $("namespace").append(make("option", { text: record.namespace, value: record.namespace }));
    }
  }
  const over = records.length - KEPT;
  if (over <= 0) return;
  const oldest = records.splice(0, over).at(-1);
  let gone = shown.findIndex((record) => record.number > oldest.number);
  if (gone < 0) gone = shown.length;
  shown.splice(0, gone);
  if (!following) $("list").scrollTop -= gone * ROW;
};

// The list: as many rows as are seen.

const pool = [];
let asked = false;
let ours = -1; // where the page itself has scrolled to

const row = () => {
  const part = (name) => make("span", { class: name });
  const parts = ["time", "way", "kind", "where", "name", "text", "size"].map(part);
  parts[0].append(make("span"), make("span", { class: "ms" }));
  const node = make("div", { class: "row", role: "option" }, ...parts);
  node.addEventListener("click", () => choose(node.record));
  return Object.assign(node, { parts });
};

const clock = (micros) => {
  const time = new Date(micros / 1000);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
};

// What stands behind the name of an event, which has a column of its own.
const args = (record) => {
  const text = record.text ?? "";
  const name = record.kind === "event" && /^\[\s*"(?:[^"\\]|\\.)*"\s*,?\s*/s.exec(text);
  if (!name) return text;
  const rest = text.slice(name[0].length);
  return record.is_cut ? `${rest}…` : rest.replace(/\s*\]$/, "");
};

// The text, and the first hit of the search in it.
const fillText = (node, text) => {
  const word = filter.words.find((one) => text.toLowerCase().includes(one));
  if (!word) {
    node.textContent = text.slice(0, 300);
    return;
  }
  const at = text.toLowerCase().indexOf(word);
  const from = at > 40 ? at - 20 : 0;
  const mark = make("mark", { text: text.slice(at, at + word.length) });
  node.replaceChildren((from ? "…" : "") + text.slice(from, at), mark, text.slice(at + word.length, at + 300));
};

const fill = (node, record) => {
  node.record = record;
  const [time, way, kind, where, name, text, size] = node.parts;
  const at = clock(record.time);
  time.firstChild.textContent = at.slice(0, 8);
  time.lastChild.textContent = at.slice(8);
  way.textContent = { in: "↓", out: "↑" }[record.direction] ?? "•";
  kind.textContent = record.kind.replace("_", " ");
  where.textContent = record.namespace ?? "";
  name.textContent = record.name ?? "";
  const latency = record.latency === undefined ? "" : `${millis(record.latency)} `;
  fillText(text, latency + (record.kind === "connect" ? "(not shown)" : args(record)));
  size.textContent = record.direction ? count(record.size) : "";
  node.dataset.way = record.direction ?? "";
  node.dataset.kind = record.kind;
  node.className = "row";
  node.classList.toggle("bad", BAD.has(record.kind));
  node.classList.toggle("change", !record.direction);
  node.classList.toggle("plain", Boolean(record.direction) && !record.name);
  node.setAttribute("aria-selected", String(record === chosen));
};

const render = () => {
  asked = false;
  const list = $("list");
  $("spacer").style.height = `${shown.length * ROW}px`;
  if (following) {
    list.scrollTop = shown.length * ROW;
    ours = list.scrollTop;
  }
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 2);
  const wanted = Math.min(shown.length - first, Math.ceil(list.clientHeight / ROW) + 5);
  while (pool.length < wanted) {
    pool.push(row());
    $("rows").append(pool.at(-1));
  }
  while (pool.length > Math.max(wanted, 0)) pool.pop().remove();
  $("rows").style.top = `${first * ROW}px`;
  pool.forEach((node, at) => fill(node, shown[first + at]));
  $("empty").hidden = shown.length > 0;
  $("empty").textContent = records.length ? "No message fits the filters." : "No messages yet.";
  $("newest").hidden = following;
  const more = held.length ? ` · ${count(held.length)} waiting` : "";
  const less = skipped ? ` · ${count(skipped)} skipped` : "";
  $("counts").textContent = `${count(shown.length)} of ${count(records.length)}${more}${less}`;
};

const refresh = () => {
  if (!asked) {
    asked = true;
    requestAnimationFrame(render);
  }
};

$("list").addEventListener("scroll", () => {
  const list = $("list");
  if (following && list.scrollTop === ours) return;
  following = list.scrollTop + list.clientHeight >= shown.length * ROW - ROW;
  refresh();
});
new ResizeObserver(refresh).observe($("list"));
$("newest").addEventListener("click", () => {
  following = true;
  refresh();
});

const move = (by) => {
  if (shown.length === 0) return;
  const at = shown.indexOf(chosen);
  const to = at < 0 ? (by === -Infinity ? 0 : shown.length - 1) : Math.min(Math.max(at + by, 0), shown.length - 1);
  choose(shown[to]);
  const list = $("list");
  following = false;
  if (to * ROW < list.scrollTop) list.scrollTop = to * ROW;
  if ((to + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (to + 1) * ROW - list.clientHeight;
  refresh();
};

// One message.

let hex = false;

const choose = (record) => {
  chosen = record;
  hex = record.kind === "attachment";
  detail();
  refresh();
};

const detail = () => {
  $("none").hidden = Boolean(chosen);
  $("chosen").hidden = !chosen;
  if (!chosen) return;
  const facts = [
    ["kind", `${chosen.kind.replace("_", " ")}${chosen.direction ? `, ${chosen.direction}` : ""}`],
    ["name", chosen.name],
    ["namespace", chosen.namespace],
    ["time", clock(chosen.time)],
    ["size", chosen.direction && `${count(chosen.size)} bytes`],
    ["attachments", chosen.attachments || undefined],
    ["ack id", chosen.ack],
    ["answers", chosen.answers === undefined ? undefined : `#${chosen.answers}, after ${millis(chosen.latency)}`],
    ["session", `${chosen.session}, record #${chosen.number}`],
  ].filter(([, value]) => value !== undefined && value !== null);
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: String(value) })]));
  $("as-json").setAttribute("aria-selected", String(!hex));
  $("as-hex").setAttribute("aria-selected", String(hex));
  const body = $("body");
  body.className = hex ? "hex" : "";
  const text = chosen.text ?? "";
  if (text === "") {
    body.replaceChildren(chosen.kind === "connect" ? "Credentials may be in it: it is not shown." : "There is no data.");
  } else if (hex) {
    body.replaceChildren(dump(chosen));
  } else {
    body.replaceChildren(...pretty(text));
  }
  if (chosen.is_cut) body.append(make("em", { text: "\n… it was longer" }));
};

const bytesOf = (record) => {
  if (record.kind !== "attachment") return new TextEncoder().encode(record.text);
  return Uint8Array.from(record.text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
};

const dump = (record) => {
  const bytes = bytesOf(record);
  const lines = [];
  for (let at = 0; at < bytes.length; at += 8) {
    const part = [...bytes.slice(at, at + 8)];
    const digits = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const plain = part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${digits.padEnd(23)}  ${plain}`);
  }
  return lines.join("\n");
};

// Lays JSON out token by token: so that numbers stay as they are, and a text may end anywhere.
const pretty = (text) => {
  const first = text.trimStart()[0];
  if (first !== "[" && first !== "{") return [text];
  const parts = [];
  let depth = 0;
  let last = "";
  let tokens = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  const matcher = /"(?:[^"\\]|\\.)*"?|[[\]{}:,]|[^\s"[\]{}:,]+/gs;
  for (let found = matcher.exec(text); found; found = matcher.exec(text)) {
    const [token] = found;
    if (++tokens > TOKENS) {
      parts.push(text.slice(found.index));
      break;
    }
    if (token === "]" || token === "}") {
      depth = Math.max(depth - 1, 0);
      parts.push((last === "[" || last === "{" ? "" : line()) + token);
    } else {
      if (last === "[" || last === "{" || last === ",") parts.push(line());
      if (token === "[" || token === "{") depth += 1;
      if (token === ":") parts.push(": ");
      else if (/^[[{,]$/.test(token)) parts.push(token);
      else {
        const isKey = token[0] === '"' && /^\s*:/.test(text.slice(matcher.lastIndex, matcher.lastIndex + 9));
        parts.push(make("span", { text: token, class: isKey ? "k" : token[0] === '"' ? "s" : "n" }));
      }
    }
    last = token;
  }
  return parts;
};

const turn = (to) => {
  hex = to;
  detail();
};
$("as-json").addEventListener("click", () => turn(false));
$("as-hex").addEventListener("click", () => turn(true));
$("copy").addEventListener("click", () => navigator.clipboard?.writeText(chosen?.text ?? ""));

// Charts.

const millis = (micros) => {
  const value = micros / 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
};

const canvas = (id) => {
  const node = $(id);
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [node.clientWidth, node.clientHeight];
  if (node.width !== Math.round(width * ratio) || node.height !== Math.round(height * ratio)) {
    node.width = Math.round(width * ratio);
    node.height = Math.round(height * ratio);
  }
  const brush = node.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  brush.strokeStyle = colour("--line");
  brush.lineWidth = 1;
  brush.beginPath();
  brush.moveTo(0, height - 0.5);
  brush.lineTo(width, height - 0.5);
  brush.stroke();
  return { brush, width, height, colour };
};

const SECONDS = 60;
const rates = { in: Array(SECONDS).fill(0), out: Array(SECONDS).fill(0) };
let totals = { in: 0, out: 0 };
let before = null;

const measure = () => {
  for (const way of ["in", "out"]) {
    rates[way].push(Math.max(totals[way] - (before ?? totals)[way], 0));
    rates[way].shift();
  }
  before = totals;
};

const drawRates = () => {
  const { brush, width, height, colour } = canvas("rates");
  const most = Math.max(1, ...rates.in, ...rates.out);
  for (const way of ["in", "out"]) {
    brush.strokeStyle = colour(`--${way}`);
    brush.lineWidth = 1.5;
    brush.beginPath();
    rates[way].forEach((rate, at) => {
      const x = (at * width) / (SECONDS - 1);
      const y = height - 2 - (rate / most) * (height - 6);
      if (at === 0) brush.moveTo(x, y);
      else brush.lineTo(x, y);
    });
    brush.stroke();
  }
  $("rate").textContent = `${count(rates.in.at(-1))} in · ${count(rates.out.at(-1))} out`;
};

const latencies = [];

const drawLatencies = () => {
  const { brush, width, height, colour } = canvas("latencies");
  if (latencies.length === 0) {
    $("latency").textContent = "none yet";
    return;
  }
  const sorted = [...latencies].sort((one, other) => one - other);
  const part = (portion) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * portion))];
  const most = Math.max(sorted.at(-1), 1);
  const wide = width / 100;
  brush.fillStyle = colour("--accent");
  latencies.forEach((latency, at) => {
    const tall = Math.max(2, (latency / most) * (height - 6));
    brush.fillRect(width - (latencies.length - at) * wide, height - 1 - tall, Math.max(wide - 1, 1), tall);
  });
  $("latency").textContent = `median ${millis(part(0.5))} · 95 % ${millis(part(0.95))}`;
};

// The connection.

const segments = [];
let home = "/"; // the namespace of the URL
let joined = "";
const STATES = { dialling: "dial", open: "open", failed: "down", lost: "down", gave_up: "down", closed: "down", retrying: "wait" };
const WORDS = { none: "…", dial: "connecting", open: "connected", wait: "waiting", down: "not connected" };

const showState = () => {
  const state = segments.at(-1)?.state ?? "none";
  const isOut = state === "open" && (joined === "left" || joined === "refused");
  $("state").textContent = state === "open" && joined ? joined : WORDS[state];
  $("state").dataset.state = isOut ? "down" : state;
  $("link").textContent = joined === "joined" || state === "dial" || state === "wait" ? "Leave" : "Join";
};

const follow = (record) => {
  if (record.namespace === home) {
    if (record.kind === "connect" && record.direction === "in") joined = "joined";
    if (record.kind === "disconnect") joined = "left";
    if (record.kind === "connect_error") joined = "refused";
  }
  const state = STATES[record.kind];
  if (state && state !== "open") joined = "";
  if (state && segments.at(-1)?.state !== state) {
    segments.push({ state, time: record.time, node: make("div", { "data-state": state }) });
    $("timeline").append(segments.at(-1).node);
    if (segments.length > SEGMENTS) segments.shift().node.remove();
  }
  if (!state && record.direction) return;
  const what = record.kind === "open" ? `session ${record.session}` : record.text ?? "";
  $("change").textContent = `${clock(record.time)} ${record.kind.replace("_", " ")}: ${what}`;
};

const drawHistory = () => {
  const now = Date.now() * 1000;
  segments.forEach(({ state, time, node }, at) => {
    const seconds = Math.max((segments[at + 1]?.time ?? now) - time, 0) / 1e6;
    node.style.flexGrow = String(Math.max(seconds, 0.01));
    node.title = `${WORDS[state]} for ${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s, from ${clock(time)}`;
  });
};

const showStats = (stats) => {
  const entries = Object.entries(stats);
  if ($("stats").children.length !== entries.length * 2) {
    $("stats").replaceChildren(...entries.flatMap(([name]) => [make("dt", { text: name }), make("dd")]));
  }
  const values = $("stats").querySelectorAll("dd");
  entries.forEach(([, value], at) => {
    values[at].textContent = count(value);
  });
};

const draw = () => {
  drawRates();
  drawLatencies();
};
setInterval(() => {
  measure();
  draw();
  drawHistory();
}, 1000);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(draw).observe($("rates"));

// The inspector.

let socket = null;
const waiting = new Map();
let last = 0;

const say = (request) => {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(request));
  return true;
};

const take = (batch) => {
  for (const record of batch.records) {
    follow(record);
    if (record.latency !== undefined && record.direction === "in") {
      latencies.push(record.latency);
      if (latencies.length > 100) latencies.shift();
    }
  }
  skipped += batch.skipped;
  totals = batch.totals;
  showStats(batch.stats);
  showState();
  if (paused) {
    held.push(...batch.records);
    skipped += Math.max(held.length - KEPT, 0);
    held.splice(0, held.length - KEPT);
  } else {
    add(batch.records);
  }
  refresh();
  // Nothing more comes before this: a page that is slow, or is not seen, skips messages.
  if (document.hidden) setTimeout(() => say({ do: "seen" }), 500);
  else requestAnimationFrame(() => say({ do: "seen" }));
};

const begin = ({ url, namespace }) => {
  clear();
  segments.splice(0).forEach(({ node }) => node.remove());
  latencies.length = 0;
  before = null;
  home = namespace;
  joined = "";
  $("server").textContent = namespace === "/" ? url : `${url} ${namespace}`;
  $("emit-namespace").value = namespace;
};

const open = () => {
  socket = new WebSocket(new URL("ws", location.href.replace(/^http/, "ws")));
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.hello) begin(message.hello);
    if (message.records) take(message);
    if (message.emitted) answered(message.emitted);
  });
  socket.addEventListener("close", () => {
    $("state").textContent = "the inspector is gone";
    $("state").dataset.state = "down";
    setTimeout(open, 1000);
  });
};

// Emitting.

const tell = (text, isBad) => {
  $("answer").hidden = false;
  $("answer").classList.toggle("bad", isBad);
  $("answer").textContent = text;
};

const answered = ({ id, answer, error }) => {
  const since = waiting.get(id);
  waiting.delete(id);
  const time = since === undefined ? "" : ` (${Math.round(performance.now() - since)} ms)`;
  if (error !== undefined) tell(`${error}${time}`, true);
  else if (answer === null) tell(`sent${time}`, false);
  else tell(`${answer}${time}`, false);
};

$("emit").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  let args = null;
  try {
    args = JSON.parse($("emit-arguments").value.trim() || "[]");
  } catch (error) {
    return tell(`arguments: ${error.message}`, true);
  }
  if (!Array.isArray(args)) return tell("arguments: a JSON array, such as [1, \"two\"]", true);
  const id = ++last;
  waiting.set(id, performance.now());
  const request = {
    do: "emit", id, namespace: $("emit-namespace").value.trim() || "/", event: $("emit-event").value,
    arguments: args, ack: $("emit-ack").checked,
  };
  tell(say(request) ? "…" : "the inspector is gone", false);
});

// Buttons and keys.

const pause = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) add(held.splice(0));
  refresh();
};

const clear = () => {
  records.length = 0;
  shown = [];
  held.length = 0;
  skipped = 0;
  chosen = null;
  following = true;
  detail();
  refresh();
};

const THEMES = ["system", "light", "dark"];
const dress = (theme) => {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `◐ ${theme}`;
  localStorage.setItem("theme", theme);
  draw();
};
const theme = () => dress(THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "system") + 1) % THEMES.length]);

$("pause").addEventListener("click", pause);
$("clear").addEventListener("click", clear);
$("theme").addEventListener("click", theme);
$("help").addEventListener("click", () => $("keys").showModal());
$("link").addEventListener("click", () => say({ do: $("link").textContent === "Leave" ? "disconnect" : "connect" }));
$("filters").addEventListener("input", refilter);
$("filters").addEventListener("submit", (submitted) => submitted.preventDefault());

const KEYS = {
  "/": () => $("search").select(),
  j: () => move(1),
  k: () => move(-1),
  g: () => move(-Infinity),
  G: () => {
    move(Infinity);
    following = true;
    refresh();
  },
  " ": pause,
  e: () => $("emit-event").focus(),
  x: () => chosen && turn(!hex),
  c: clear,
  t: theme,
  "?": () => $("keys").showModal(),
};

document.addEventListener("keydown", (pressed) => {
  if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || $("keys").open) return;
  const { target, key } = pressed;
  if (key === "Escape") return $("list").focus();
  if (target.closest("input:not([type=checkbox]), textarea, select")) return;
  if (key === " " && target.closest("button, input")) return;
  const act = KEYS[key];
  if (act) {
    pressed.preventDefault();
    act();
  }
});

dress(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
readFilter();
open();
