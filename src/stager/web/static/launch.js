// The launch page: shows the preview's address while the branch is entered, and another application's pull requests.

const DELAY = 250;

const form = document.getElementById("launch");
if (form) {
  const [app, branch] = [form.elements.app, form.elements.branch];
  const target = document.getElementById("target");
  let timer;
  let asked = 0;

  document.getElementById("look").hidden = true;

  async function show() {
    const turn = ++asked;
    const name = branch.value.trim();
    const path = `/api/v1/applications/${encodeURIComponent(app.value)}/target?name=${encodeURIComponent(name)}`;
    const answer = name && app.value ? await fetch(path).catch(() => null) : null;
    const found = answer && answer.ok ? await answer.json() : null;
    if (turn !== asked) return;
    target.hidden = !found;
    if (!found) return;
    document.getElementById("target-words").textContent = found.environment
      ? "This preview exists. It is deployed again at" : "The preview’s address will be";
    document.getElementById("target-url").textContent = found.url;
  }

  branch.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, DELAY);
  });
  app.addEventListener("change", () => {
    location.assign(`/new?${new URLSearchParams({ app: app.value, branch: branch.value })}`);
  });
}
