// Makes the page of a log a view of all its lines, however many: only those around what one looks at are in the
// document, the others are fetched when they come near. While the log grows, the view stays at its end if it is there.
// Lines come as parts with classes (see pages/ansi.rs) and become text nodes, never markup: what a build prints is
// nobody's to trust.
"use strict";

// A block: the names of live.js (`follow`, `show` and `refresh` are used) stay its own.
{
const OVERSCAN = 60; // lines above and below what is seen
const CHUNK = 500; // lines of one fetch
const KEPT = 20_000; // lines in memory
const TALLEST = 10_000_000; // pixels: browsers lay out no element higher than 17 to 33 million
const SHOWN_SPANS = 3_000; // styled parts in the document; lines beyond are shown plain
const SHOWN_TEXT = 5_000; // characters of a line, before one asks for the rest

const view = document.getElementById("log");
const api = `/api/v1/logs/${view.dataset.log}`;
const sizer = document.createElement("div");
const block = document.createElement("div");
const probe = document.createElement("div");

let total = Number(view.dataset.total);
let complete = view.dataset.complete === "true";
const lines = new Map(); // by number from 0: { channel, elapsed, spans }
const nodes = new Map(); // what is in the document of them
const whole = new Set(); // long lines that one wants to see whole
let target = null; // the lines that the address names: { from, to }, from 0
let height = 19; // of a line, in pixels
let position = 0; // where the view is, in pixels of the whole log
let shift = 0; // how much of that the scroll bar does not know of
let seen = 0; // the scroll position that `position` belongs to
let blockTop = 0; // where the lines in the document start, in pixels of what scrolls
let pinned = false; // whether it sticks to the end
let wrapped = false;
let started = false;

const number = (n) => n.toLocaleString("en-US");

// --- Lines ---------------------------------------------------------------------------------------------------------

// Takes over what the server put into the page.
function adoptPage() {
  for (const element of view.querySelectorAll(".line")) {
    const parts = [...element.querySelector(".text").childNodes];
    const spans = parts.map((part) => [part.className ?? "", part.textContent, ...(part.href ? [part.href] : [])]);
    const channel = element.classList[1];
    lines.set(Number(element.dataset.number) - 1, { channel, elapsed: Number(element.dataset.elapsed), spans });
  }
}

function take(range) {
  for (const line of range.lines) {
    if (!lines.has(line.number)) {
      lines.set(line.number, { channel: line.channel, elapsed: line.elapsed_ms, spans: line.spans });
    }
  }
  total = Math.max(total, range.total);
  complete ||= range.complete;
  if (lines.size > KEPT) {
    const middle = position / height;
    for (const n of lines.keys()) if (Math.abs(n - middle) > KEPT / 4 && !nodes.has(n)) lines.delete(n);
  }
}

function elapsed(ms) {
  const pad = (n, width) => String(n).padStart(width, "0");
  const [h, m, s] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  const tail = "." + pad(ms % 1000, 3);
  if (h) return `${h}:${pad(m, 2)}:${pad(s, 2)}${tail}`;
  return m ? `${m}:${pad(s, 2)}${tail}` : s + tail;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

let styledParts = 0;

function textOf(n, line) {
  const text = element("span", "text");
  let room = whole.has(n) ? Infinity : SHOWN_TEXT;
  const fancy = styledParts + line.spans.length <= SHOWN_SPANS;
  if (fancy) styledParts += line.spans.length;
  for (const [className, all, link] of line.spans) {
    const part = all.slice(0, room);
    room -= part.length;
    if (link && fancy) {
      const anchor = element("a", className, part);
      anchor.href = link;
      anchor.rel = "noopener noreferrer";
      text.append(anchor);
    } else {
      text.append(className && fancy ? element("span", className, part) : part);
    }
    if (room <= 0) break;
  }
  const length = line.spans.reduce((sum, [, part]) => sum + part.length, 0);
  if (room <= 0 && length > SHOWN_TEXT) {
    const more = element("button", "quiet more", `… ${number(length - SHOWN_TEXT)} more characters`);
    more.addEventListener("click", () => { whole.add(n); forget(n); render(); });
    text.append(more);
  }
  return text;
}

function make(n) {
  const line = lines.get(n);
  const node = element("div", line ? `line ${line.channel}` : "line missing");
  node.dataset.number = n + 1;
  const label = element("a", "n");
  label.href = `#L${n + 1}`;
  label.dataset.n = n + 1;
  label.setAttribute("aria-label", `line ${n + 1}`);
  node.append(label);
  if (line) {
    const before = lines.get(n - 1);
    label.title = `${elapsed(line.elapsed)} after the start`
      + (before ? `, ${elapsed(Math.max(0, line.elapsed - before.elapsed))} after the line before` : "")
      + (line.channel === "stderr" ? ", standard error" : "");
    node.append(element("span", "t", elapsed(line.elapsed)), textOf(n, line));
  }
  node.styledParts = line ? line.spans.length : 0;
  node.filled = Boolean(line);
  return node;
}

function forget(n) {
  const node = nodes.get(n);
  if (!node) return;
  node.remove();
  nodes.delete(n);
}

// --- The window ----------------------------------------------------------------------------------------------------

const extent = () => Math.max(total * height + (wrapped ? Math.max(0, view.clientHeight - height) : 0), view.clientHeight);
const furthest = () => Math.max(0, extent() - view.clientHeight);
const bounded = (value) => Math.min(Math.max(0, value), furthest());

// Puts the view there, and the scroll bar where that is in the whole.
function goTo(value) {
  position = bounded(value);
  scrollBar();
  render();
}

// The column of numbers is as wide as the longest, the scroll bar stands for all lines.
function measure() {
  view.style.setProperty("--digits", Math.max(3, String(total).length));
  const size = Math.min(extent(), TALLEST);
  sizer.style.height = `${size}px`;
  return size;
}

function scrollBar() {
  const size = measure(), most = furthest();
  view.scrollTop = size < extent() ? Math.round((position / most) * (size - view.clientHeight)) : position;
  seen = view.scrollTop;
  shift = position - seen;
}

function scrolled() {
  const now = view.scrollTop, moved = now - seen;
  if (moved === 0) return;
  seen = now;
  const size = Math.min(extent(), TALLEST), most = size - view.clientHeight;
  if (size < extent() && Math.abs(moved) > 2 * view.clientHeight) {
    // The scroll bar was dragged: in a log that is higher than an element may be, its place says which part to see.
    shift = Math.round((now / most) * furthest()) - now;
  }
  position = bounded(now + shift);
  if (wrapped && now <= 0) position = 0;
  const stuck = shift !== 0 && ((now <= 0 && position > 0) || (now >= most - 1 && position < furthest() - 1));
  if (stuck) goTo(position);
  setPinned(atEnd());
  draw();
  clearTimeout(settling);
  settling = setTimeout(settle, 200);
}

let settling;

// After some calm the scroll bar shows again where one is.
function settle() {
  if (shift === 0 && !wrapped) return;
  setPinned(atEnd());
  goTo(pinned ? furthest() : position);
}

const atEnd = () => position >= furthest() - 1 || (wrapped && bottomSeen());

function bottomSeen() {
  const last = nodes.get(total - 1);
  return Boolean(last) && last.getBoundingClientRect().bottom <= view.getBoundingClientRect().bottom + 1;
}

function setPinned(value) {
  pinned = value;
  followButton.hidden = complete || pinned;
}

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (pinned) goTo(furthest());
    else render();
  });
}

function render() {
  const rows = Math.ceil(view.clientHeight / height);
  const at = pinned && wrapped ? total - rows : Math.floor(position / height);
  const from = Math.max(0, at - OVERSCAN), to = Math.min(total, at + rows + OVERSCAN);
  for (const [n, node] of nodes) {
    if (n < from || n >= to || (!node.filled && lines.has(n))) forget(n);
  }
  styledParts = [...nodes.values()].reduce((sum, node) => sum + node.styledParts, 0);
  let next = block.firstChild;
  for (let n = from; n < to; n++) {
    let node = nodes.get(n);
    if (node && node === next) {
      next = next.nextSibling;
    } else {
      if (!node) nodes.set(n, node = make(n));
      block.insertBefore(node, next);
    }
    node.classList.toggle("target", Boolean(target) && n >= target.from && n <= target.to);
  }
  place(from, at);
  fetchMissing(from, to);
}

// Puts the block of lines where the view is. Wrapped lines have heights of their own: the one at the top of the view
// is held there, and the others follow.
function place(from, at) {
  let offset = from * height - shift;
  if (wrapped) {
    const first = nodes.get(at);
    const into = position / height - at;
    if (pinned) offset = seen + view.clientHeight - block.offsetHeight;
    else if (first) offset = seen - first.offsetTop - into * first.offsetHeight;
  }
  put(offset);
  if (wrapped && pinned) resume();
}

function put(offset) {
  blockTop = Math.round(offset);
  block.style.top = `${blockTop}px`;
}

// Wrapped lines at the end of the log: says where that is, so that one scrolls on from there.
function resume() {
  const into = Math.max(0, seen - blockTop);
  position = bounded(walked(into - (seen - blockTop)));
  scrollBar();
  put(seen - into);
}

// Where one is after so many pixels of lines as they are, wrapped or not.
function walked(by) {
  const into = seen - blockTop + by;
  const found = [...block.children].find((node) => node.offsetTop + node.offsetHeight > into);
  if (!wrapped || !found || (into < 0 && found.dataset.number !== "1")) return position + by;
  const part = Math.max(0, into - found.offsetTop) / found.offsetHeight;
  return (Number(found.dataset.number) - 1 + part) * height;
}

// --- Fetching ------------------------------------------------------------------------------------------------------

let request = null; // the one fetch under way: { from, to, abort }
let waiting;

// Fetches what is near and not here: one fetch at a time, and none for what has left the view meanwhile.
function fetchMissing(from, to) {
  clearTimeout(waiting);
  let first = from;
  while (first < to && lines.has(first)) first++;
  if (first === to) return;
  if (request) {
    if (first >= request.from && first < request.to) return;
    request.abort.abort();
  }
  waiting = setTimeout(() => fetchChunk(first, to), request ? 60 : 0);
}

async function fetchChunk(first, to) {
  let last = first;
  while (last < to && !lines.has(last)) last++;
  // Upwards, what is above comes next; downwards, what is below.
  const up = lines.has(last) || last >= total;
  const from = up ? Math.max(0, Math.min(first, last - CHUNK)) : first;
  const own = request = { from, to: from + CHUNK, abort: new AbortController() };
  try {
    const answer = await fetch(`${api}/lines?from=${from}&count=${CHUNK}&styled=true`, { signal: own.abort.signal });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    take(await answer.json());
    if (request === own) request = null;
    draw();
  } catch (error) {
    if (request === own) request = null;
    // Outdated, or the master is away: in a while there is another chance.
    if (error.name !== "AbortError") setTimeout(draw, 1000);
  }
}

// --- Growing -------------------------------------------------------------------------------------------------------

const followButton = document.getElementById("follow");
const connection = document.getElementById("connection");

function grown() {
  document.getElementById("count").textContent = `${number(total)} ${total === 1 ? "line" : "lines"}`;
  document.getElementById("nothing")?.remove();
  // The size comes with the lines no more; the finished page has it again.
  document.getElementById("size")?.remove();
  measure();
  draw();
}

function followLog() {
  let next = total, lost = false;
  const end = follow(
    () => `${api}/follow?styled=true&newest=true&from=${next}`,
    {
      lines: (event) => {
        take(JSON.parse(event.data));
        next = Number(event.lastEventId);
        grown();
      },
      complete: (event) => {
        end();
        take(JSON.parse(event.data));
        complete = true;
        grown();
        document.getElementById("state").textContent = "complete";
        connection.dataset.state = "none";
        connection.textContent = "";
        followButton.hidden = true;
        catchUp(5);
      },
    },
    (state) => {
      show(state);
      // What interrupted it is in no line.
      if (lost && state === "live") refresh();
      lost = state === "lost";
    },
  );
}

// The step's result comes soon after the end of what it printed.
async function catchUp(times) {
  await refresh();
  const badge = document.querySelector("#facts [data-outcome]");
  const open = ["running", "pending"].includes(badge?.dataset.outcome);
  if (open && times > 0) setTimeout(() => catchUp(times - 1), 3000 / times);
}

// --- Places --------------------------------------------------------------------------------------------------------

// `#L10` and `#L10-L20`, as people count.
function parse(hash) {
  const found = /^#L(\d{1,15})(?:-L?(\d{1,15}))?$/.exec(hash);
  if (!found) return null;
  const one = Math.max(0, Number(found[1]) - 1), two = found[2] ? Math.max(0, Number(found[2]) - 1) : one;
  return { from: Math.min(one, two), to: Math.max(one, two) };
}

const selection = document.getElementById("selection");

function mark(place) {
  target = place;
  selection.hidden = !place;
  if (place) {
    const one = place.from === place.to;
    const hash = one ? `#L${place.from + 1}` : `#L${place.from + 1}-L${place.to + 1}`;
    const link = selection.querySelector("a");
    link.textContent = one ? `line ${number(place.from + 1)}` : `lines ${number(place.from + 1)}–${number(place.to + 1)}`;
    link.href = location.pathname + hash;
    history.replaceState(null, "", hash);
  } else {
    history.replaceState(null, "", location.pathname);
  }
  draw();
}

// Shows a line in the upper third.
function showLine(n) {
  setPinned(false);
  goTo((Math.min(n, Math.max(0, total - 1)) - Math.floor(view.clientHeight / height / 3)) * height);
  setPinned(!complete && atEnd() && !target);
}

function open() {
  const place = parse(location.hash);
  if (place) {
    mark(place);
    showLine(place.from);
  }
  return Boolean(place);
}

view.addEventListener("click", (event) => {
  const label = event.target.closest?.("a.n");
  if (!label || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const n = Number(label.parentNode.dataset.number) - 1;
  const from = event.shiftKey && target ? target.anchor ?? target.from : n;
  if (event.shiftKey) getSelection().removeAllRanges();
  mark({ from: Math.min(from, n), to: Math.max(from, n), anchor: from });
});

selection.querySelector("a").addEventListener("click", (event) => {
  event.preventDefault();
  if (target) showLine(target.from);
});

selection.querySelector("button").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 1500);
});

const jump = document.getElementById("jump");

jump.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const n = Number(jump.value.replace(/[\s,._]/g, ""));
  const good = Number.isInteger(n) && n >= 1 && n <= total;
  jump.setAttribute("aria-invalid", String(!good));
  jump.title = good ? "" : `a number from 1 to ${number(total)}`;
  if (!good) return;
  mark({ from: n - 1, to: n - 1 });
  showLine(n - 1);
  jump.blur();
});

const find = document.getElementById("find");
const search = document.getElementById("search");
const found = document.getElementById("found");
find.hidden = false;
let searching = null;

// The next line after the one that is marked, or from what is seen on, and then from the start again.
async function findNext(text) {
  searching?.abort();
  const own = searching = new AbortController();
  const start = target ? target.from + 1 : Math.floor(position / height);
  let from = start, again = false;
  found.textContent = "looking …";
  for (;;) {
    const query = new URLSearchParams({ text, from });
    const answer = await fetch(`${api}/search?${query}`, { signal: own.signal });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const { line, next } = await answer.json();
    if (line !== null) {
      found.textContent = again ? "from the start again" : "";
      mark({ from: line, to: line });
      showLine(line);
      return;
    }
    if (next !== null) found.textContent = `looked at ${number(next)} lines …`;
    else if (again || start === 0) break;
    again ||= next === null;
    from = next ?? 0;
    if (again && from > start) break;
  }
  found.textContent = "not found";
}

find.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!search.value) return;
  findNext(search.value).catch((error) => {
    if (error.name !== "AbortError") found.textContent = "the search failed, try again";
  });
});
search.addEventListener("input", () => { found.textContent = ""; });

document.getElementById("start").addEventListener("click", (event) => {
  event.preventDefault();
  toStart();
});
document.getElementById("end").addEventListener("click", (event) => {
  event.preventDefault();
  toEnd();
});
followButton.addEventListener("click", toEnd);

function toStart() {
  setPinned(false);
  goTo(0);
}

function toEnd() {
  setPinned(true);
  goTo(furthest());
}

const keys = {
  Home: toStart,
  End: toEnd,
  PageUp: () => step(-(view.clientHeight - 2 * height)),
  PageDown: () => step(view.clientHeight - 2 * height),
  ArrowUp: () => step(-height),
  ArrowDown: () => step(height),
  Escape: () => mark(null),
  "/": () => search.focus(),
};

function step(by) {
  const to = walked(by);
  setPinned(false);
  goTo(to);
  setPinned(atEnd());
  if (pinned) goTo(furthest());
}

// The scroll bar counts lines. Where one line is many rows, a turn of the wheel would pass over most of them.
view.addEventListener("wheel", (event) => {
  if (!wrapped || event.ctrlKey || event.deltaY === 0) return;
  event.preventDefault();
  step(event.deltaY * [1, height, view.clientHeight][event.deltaMode]);
}, { passive: false });

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "TEXTAREA", "SELECT"].includes(event.target.nodeName) && event.target.type !== "checkbox";
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// --- Settings ------------------------------------------------------------------------------------------------------

// Remembered for the next log; a browser that keeps nothing forgets.
function setting(id, changed) {
  const box = document.getElementById(id);
  const key = `log-${id}`;
  try {
    box.checked = localStorage.getItem(key) === "true";
  } catch {
    // Then it is off.
  }
  const apply = () => changed(box.checked);
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(key, String(box.checked));
    } catch {
      // It holds for this page.
    }
    apply();
  });
  apply();
}

// --- Start ---------------------------------------------------------------------------------------------------------

adoptPage();
document.body.classList.add("viewer");
sizer.className = "sizer";
block.className = "lines";
probe.className = "line";
probe.textContent = "x";
sizer.append(block);
view.replaceChildren(sizer);
block.append(probe);
height = probe.getBoundingClientRect().height || height;
probe.remove();
setting("times", (on) => view.classList.toggle("timed", on));
setting("wrap", (on) => {
  wrapped = on;
  view.classList.toggle("wrapped", on);
  if (started) goTo(pinned ? furthest() : position);
});
started = true;
const asked = new URLSearchParams(location.search);
if (!open()) {
  if (asked.has("line")) showLine(Number(asked.get("line")) - 1);
  else if (asked.has("from")) goTo(Number(asked.get("from")) * height);
  else toEnd();
  setPinned(atEnd());
}
view.addEventListener("scroll", scrolled, { passive: true });
window.addEventListener("hashchange", open);
new ResizeObserver(() => goTo(pinned ? furthest() : position)).observe(view);
if (!complete) followLog();
}
