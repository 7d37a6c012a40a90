// Adds lines to the page of a log while it grows. Without this script the page shows what there was when it was loaded.
"use strict";

const view = document.getElementById("log");
const state = document.getElementById("state");

function append(line) {
  const element = document.createElement("span");
  element.className = "line " + line.channel;
  element.id = "L" + line.number;
  element.dataset.number = line.number;
  // Text, never markup: what a build prints is nobody's to trust.
  element.textContent = line.text + "\n";
  view.append(element);
}

function follow(log, from) {
  const events = new EventSource(`/api/v1/logs/${log}/follow?from=${from}`);
  events.addEventListener("lines", (event) => {
    const atEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;
    for (const line of JSON.parse(event.data).lines) append(line);
    if (atEnd) window.scrollTo(0, document.body.scrollHeight);
  });
  events.addEventListener("complete", () => {
    events.close();
    state.textContent = "complete";
  });
  events.onopen = () => { state.textContent = "live"; };
  // The browser connects again by itself and resumes at the last event's id.
  events.onerror = () => { state.textContent = "connection lost, trying again"; };
}

if (view && view.dataset.follow !== undefined) follow(view.dataset.log, view.dataset.follow);
