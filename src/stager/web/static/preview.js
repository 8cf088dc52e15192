// Keeps a preview's page up to date: reloads the page's sections periodically, and follows logs.

import { showTimes } from "./frame.js";
import { LogView } from "./logs.js";

const FAST = 2_000;
const SLOW = 15_000;
const SECTIONS = ["status", "actions", "links", "log-choice", "findings", "services", "data", "deployments", "events", "blocked", "failure"];
// Docker needs seconds for the sizes of volumes. They are shown as they were when the page was opened.
if (!new URLSearchParams(location.search).has("volumes")) SECTIONS.push("volumes");

// The HTML of each section as the server sent it: scripts and people change what is shown, such as by opening a question.
const received = new Map();
const views = new Map();

function element(id) {
  return document.getElementById(id);
}

// Whether somebody is using the section, such as a form in it.
function isBusy(section) {
  if (section.dataset.touched) return true; // a choice that isn't sent yet
  return section.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, summary, details button");
}

function replace(section, fresh) {
  if (!section || !fresh || received.get(section.id) === fresh.innerHTML) return false;
  if (isBusy(section)) return false;
  received.set(section.id, fresh.innerHTML);
  section.replaceChildren(...fresh.childNodes);
  showTimes(section);
  return true;
}

function showLog(section) {
  views.get(section.id)?.stop();
  views.delete(section.id);
  if (!section.querySelector("pre")) return;
  const view = new LogView(section);
  views.set(section.id, view);
  const box = section.querySelector(".log-follow");
  box?.addEventListener("change", () => {
    if (box.checked) view.follow(() => { box.checked = false; });
    else view.stop();
  });
  if (section.dataset.inProgress === "yes") view.follow();
}

function refreshLog(id, fresh) {
  const section = element(id);
  const newer = fresh.getElementById(id);
  if (section.dataset.build === newer.dataset.build && views.get(id)?.isInUse) return;
  Object.assign(section.dataset, newer.dataset);
  if (replace(section, newer)) showLog(section);
}

function show(fresh) {
  document.title = fresh.title;
  document.body.className = fresh.body.className;
  document.querySelector("main").dataset.unsettled = fresh.querySelector("main").dataset.unsettled;
  for (const id of SECTIONS) replace(element(id), fresh.getElementById(id));
  for (const id of ["build", "log"]) refreshLog(id, fresh);
}

// The part of the address that says whose logs are shown.
function chosenLogs() {
  const chosen = new URLSearchParams(location.search);
  chosen.delete("volumes"); // expensive
  return chosen.size ? `?${chosen}` : "";
}

async function refresh() {
  try {
    const response = await fetch(location.pathname + chosenLogs(), { cache: "no-store" });
    if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // The server is unavailable; keep the current content.
  }
  const isUnsettled = document.querySelector("main").dataset.unsettled === "yes";
  setTimeout(refresh, isUnsettled ? FAST : SLOW);
}

for (const id of [...SECTIONS, "build", "log"]) if (element(id)) received.set(id, element(id).innerHTML);
for (const id of ["build", "log"]) showLog(element(id));
element("log-choice")?.addEventListener("change", (event) => { event.currentTarget.dataset.touched = "yes"; });
setTimeout(refresh, FAST);
