// Keeps the page up to date until the preview answers. Nodes stay where they can, so that focus, selection and
// the positions of scroll bars do.
const update = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  const [nodes, others] = [[...old.childNodes], [...fresh.childNodes]];
  if (old.nodeName !== fresh.nodeName || !old.attributes) return old.replaceWith(fresh);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  if (nodes.length !== others.length) return old.replaceChildren(...others);
  nodes.forEach((node, i) => update(node, others[i]));
};
const refresh = async () => {
  try {
    if (document.hidden) return;
    const options = { headers: { accept: "text/html" }, cache: "no-store", redirect: "manual" };
    const response = await fetch("/.well-known/stager/page", options);
    if (!response.headers.has("x-stager-state")) return location.reload();
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    document.title = fresh.title;
    update(document.body, fresh.body);
  } catch {
    // The server doesn't answer; try again.
  } finally {
    setTimeout(refresh, 1000 * document.querySelector("main").dataset.refresh);
  }
};
setTimeout(refresh, 1000 * document.querySelector("main").dataset.refresh);
