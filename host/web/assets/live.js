// Keeps a page up to date. The server says that something changed; the page fetches itself again and takes over what
// differs inside elements with `data-live`. What a page shows is thus made in one place, on the server, and the page is
// whole without this script.
"use strict";

const mark = document.getElementById("connection");
const marks = {
  connecting: "connecting",
  live: "live",
  lost: "connection lost, trying again",
};

function show(state) {
  if (mark.dataset.state === state) return;
  mark.dataset.state = state;
  mark.textContent = marks[state];
}

// Follows an event stream over every break: the browser resumes after a short one by itself, `again` after an end or a
// refusal. `url` is asked each time, so that it can say where to go on. A browser has six connections to a server, and pages
// in other tabs or kept for the way back count: whoever is not looked at lets go. Returns a function that ends it.
function follow(url, listeners, changed = () => {}) {
  let source, timer, pause = 500, ended = false;
  const leave = () => { clearTimeout(timer); source?.close(); };
  const open = () => {
    leave();
    if (ended || document.hidden) return;
    source = new EventSource(url());
    source.onopen = () => { pause = 500; changed("live"); };
    source.onerror = () => {
      changed("lost");
      if (source.readyState === EventSource.CLOSED) again();
    };
    for (const [kind, listener] of Object.entries(listeners)) source.addEventListener(kind, listener);
  };
  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(open, pause);
    pause = Math.min(pause * 2, 10_000);
  };
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else open(); });
  changed("connecting");
  open();
  return () => { ended = true; leave(); };
}

// Makes `old` like `fresh` with as few changes as possible: focus, selection and what the visitor opened stay.
function adopt(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.dataset.own !== undefined) return;
  const kept = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const name of old.getAttributeNames()) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const name of fresh.getAttributeNames()) {
    const value = fresh.getAttribute(name);
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
  }
  adoptChildren(old, fresh);
}

// Children with an id are found again by it, wherever they moved; the others by their place.
function adoptChildren(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const match = child.id ? known.get(child.id) : next && !next.id ? next : undefined;
    if (!match) {
      old.insertBefore(child, next);
    } else {
      if (match === next) next = next.nextSibling;
      else old.insertBefore(match, next);
      adopt(match, child);
    }
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

let after = Number(document.body.dataset.liveAfter);
let fetching = false, wanted = false;

// Fetches the page again: one at a time, and not while nobody looks.
async function refresh() {
  wanted = true;
  if (fetching || document.hidden) return;
  fetching = true;
  while (wanted && !document.hidden) {
    wanted = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The master is away. The stream comes back when it does, and the page is fetched then.
    }
  }
  fetching = false;
}

function take(fresh) {
  document.title = fresh.title;
  document.body.dataset.now = fresh.body.dataset.now;
  skew = Date.now() - Number(fresh.body.dataset.now);
  for (const old of document.querySelectorAll("[data-live]")) {
    const match = fresh.getElementById(old.id);
    if (match) adopt(old, match);
  }
  tick();
}

// Spans of time that grow: `data-since` counts up, `data-ago` says how long it is ago. The server's words, kept fresh.
let skew = Date.now() - Number(document.body.dataset.now);

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

function ago(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 10) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86_400)} d ago`;
}

function tick() {
  const now = Date.now() - skew;
  for (const time of document.querySelectorAll("time[data-since]")) {
    time.textContent = span(now - Number(time.dataset.since));
  }
  for (const time of document.querySelectorAll("time[data-ago]")) {
    time.textContent = ago(now - Number(time.dataset.ago));
  }
  for (const bar of document.querySelectorAll("progress[data-began]")) {
    bar.value = Math.min(now - Number(bar.dataset.began), bar.max * 0.99);
  }
}

if (document.body.dataset.liveAfter !== undefined) {
  const about = document.body.dataset.liveAbout;
  let lost = false;
  follow(
    () => `/live?after=${after}${about ? "&" + about : ""}`,
    { change: (event) => { after = Number(event.lastEventId); refresh(); } },
    (state) => {
      show(state);
      // What is in no event (a worker that fell silent with the master) changed too.
      if (lost && state === "live") refresh();
      lost = state === "lost";
    },
  );
  document.addEventListener("visibilitychange", () => { if (wanted) refresh(); });
}
setInterval(tick, 1000);
