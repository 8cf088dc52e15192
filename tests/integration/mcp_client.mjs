// Lists the tools of an MCP server and calls some, by the TypeScript SDK.
// usage: node mcp_client.mjs SDK URL AUTHORIZATION < calls.json, a list of [tool, arguments]
import { pathToFileURL } from "node:url";
import { text } from "node:stream/consumers";

const [sdk, url, authorization] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = await import(pathToFileURL(sdk));

const client = new Client({ name: "stager-tests", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization } } }));
const { tools } = await client.listTools();
const results = [];
for (const [name, args] of JSON.parse(await text(process.stdin))) {
  const { isError = false, structuredContent, content } = await client.callTool({ name, arguments: args });
  results.push({ tool: name, isError, structuredContent, content });
}
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), results }));
