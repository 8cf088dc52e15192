// Keeps the page of a preview up to date: looks again at the page itself, and follows the log of a build.

const SOON = 2_000;
const LATE = 15_000;
const REPLACED = ["standing", "deployments", "blocked", "log"];

let following = "";

function isAtItsEnd(element) {
  return element.scrollHeight - element.scrollTop - element.clientHeight < 40;
}

function replace(section, fresh) {
  if (section.innerHTML === fresh.innerHTML) return;
  const places = [...section.querySelectorAll("pre")].map((pre) => (isAtItsEnd(pre) ? Infinity : pre.scrollTop));
  section.replaceChildren(...fresh.childNodes);
  section.querySelectorAll("pre").forEach((pre, i) => { pre.scrollTop = places[i] ?? Infinity; });
}

// The log is text, whatever a build prints: it is never taken for HTML.
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
      const atItsEnd = isAtItsEnd(pre);
      pre.append(value);
      if (atItsEnd) pre.scrollTop = pre.scrollHeight;
    }
  } finally {
    if (following === build) following = "";
  }
}

function show(fresh) {
  document.title = fresh.title;
  document.body.className = fresh.body.className;
  document.querySelector("main").dataset.unsettled = fresh.querySelector("main").dataset.unsettled;
  for (const id of REPLACED) replace(document.getElementById(id), fresh.getElementById(id));
  const [build, newer] = [document.getElementById("build"), fresh.getElementById("build")];
  if (following && following === newer.dataset.build) return;
  Object.assign(build.dataset, newer.dataset);
  replace(build, newer);
  if (build.dataset.underWay === "yes") follow(build).catch(() => {});
}

async function lookAgain() {
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
  } catch {
    // Stager is away for a moment; what is shown stays until it is back.
  }
  const soon = document.querySelector("main").dataset.unsettled === "yes";
  setTimeout(lookAgain, soon ? SOON : LATE);
}

document.querySelectorAll("pre").forEach((pre) => { pre.scrollTop = pre.scrollHeight; });
if (document.getElementById("build").dataset.underWay === "yes") follow(document.getElementById("build")).catch(() => {});
setTimeout(lookAgain, SOON);
