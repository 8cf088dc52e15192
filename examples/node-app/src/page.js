const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

export function page(word, colours) {
  const bands = colours.map((colour) => `<li style="background:${colour}"><code>${colour}</code></li>`).join("\n");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Palette: ${escape(word)}</title>
<style>
  * { box-sizing: border-box; }
  body { margin: 0; display: grid; grid-template-rows: auto 1fr; min-height: 100vh; font: 1rem/1.4 system-ui, sans-serif; background: #16161a; color: #fffffe; }
  form { display: flex; gap: .75rem; align-items: baseline; padding: 1.25rem 1.5rem; }
  h1 { margin: 0; font-size: 1rem; font-weight: 600; letter-spacing: .04em; }
  input { flex: 1; min-width: 0; padding: .25rem 0; border: 0; border-bottom: 2px solid ${colours[3]}; background: none; color: inherit; font: 600 1.5rem/1.2 Georgia, serif; }
  input:focus { outline: 0; border-color: #fffffe; }
  ul { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; margin: 0; padding: 0; list-style: none; }
  li { display: flex; align-items: flex-end; padding: 1.25rem; }
  code { padding: .2rem .45rem; border-radius: .3rem; background: #16161acc; }
  @media (max-width: 40rem) { ul { grid-auto-flow: row; } }
</style>
<form>
  <h1>Palette of</h1>
  <input name="word" value="${escape(word)}" aria-label="Word" maxlength="60" autofocus>
</form>
<ul>
${bands}
</ul>
</html>
`;
}
