// Signs every example of a delivery with octokit's own signer.
// usage: node sign.mjs NODE_MODULES SECRET; prints one JSON object a line: set, event, body, form, signatures.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, secret] = process.argv.slice(2);
const signer = pathToFileURL(join(modules, "@octokit/webhooks-methods/dist-node/index.js"));
const { sign } = await import(signer.href);
const examples = join(modules, "@octokit/webhooks-examples");

for (const set of readdirSync(examples, { withFileTypes: true })) {
  if (!set.isDirectory()) continue;
  for (const { name, examples: payloads } of JSON.parse(readFileSync(join(examples, set.name, "index.json"), "utf8"))) {
    for (const payload of payloads) {
      const body = JSON.stringify(payload);
      const form = new URLSearchParams({ payload: body }).toString();
      const signatures = [await sign(secret, body), await sign(secret, form)];
      console.log(JSON.stringify({ set: set.name, event: name, body, form, signatures }));
    }
  }
}
