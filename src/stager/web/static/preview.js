// Keeps a preview's page up to date: reloads the page's sections periodically and follows the log of a running build.

const FAST = 2_000;
const SLOW = 15_000;
const SECTIONS = ["status", "actions", "findings", "services", "data", "deployments", "blocked", "log"];
// Docker needs seconds for the sizes of volumes. They are shown as they were when the page was opened.
if (!new URLSearchParams(location.search).has("volumes")) SECTIONS.push("volumes");

let following = "";

function isAtEnd(element) {
  return element.scrollHeight - element.scrollTop - element.clientHeight < 40;
}

function replace(section, fresh) {
  if (section.innerHTML === fresh.innerHTML) return;
  const positions = [...section.querySelectorAll("pre")].map((pre) => (isAtEnd(pre) ? Infinity : pre.scrollTop));
  section.replaceChildren(...fresh.childNodes);
  section.querySelectorAll("pre").forEach((pre, i) => { pre.scrollTop = positions[i] ?? Infinity; });
}

// The log is inserted as text, never as HTML.
async function follow(section) {
  const pre = section.querySelector("pre");
  const build = section.dataset.build;
  following = build;
  try {
    const response = await fetch(`${section.dataset.log}?follow=true`, { cache: "no-store" });
    if (!response.ok) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    pre.textContent = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const atEnd = isAtEnd(pre);
      pre.append(value);
      if (atEnd) pre.scrollTop = pre.scrollHeight;
    }
  } finally {
    if (following === build) following = "";
  }
}

function show(fresh) {
  document.title = fresh.title;
  document.body.className = fresh.body.className;
  document.querySelector("main").dataset.unsettled = fresh.querySelector("main").dataset.unsettled;
  for (const id of SECTIONS) replace(document.getElementById(id), fresh.getElementById(id));
  const [build, newer] = [document.getElementById("build"), fresh.getElementById("build")];
  if (following && following === newer.dataset.build) return;
  Object.assign(build.dataset, newer.dataset);
  replace(build, newer);
  if (build.dataset.inProgress === "yes") follow(build).catch(() => {});
}

async function refresh() {
  try {
    const response = await fetch(location.pathname, { cache: "no-store" });
    if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // The server is unavailable; keep the current content.
  }
  const isUnsettled = document.querySelector("main").dataset.unsettled === "yes";
  setTimeout(refresh, isUnsettled ? FAST : SLOW);
}

document.querySelectorAll("pre").forEach((pre) => { pre.scrollTop = pre.scrollHeight; });
if (document.getElementById("build").dataset.inProgress === "yes") follow(document.getElementById("build")).catch(() => {});
setTimeout(refresh, FAST);
