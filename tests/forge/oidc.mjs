// oidc-provider, which is certified, on GitHub's paths: `node oidc.mjs MODULES PORT CALLBACK...`.
// Whoever types in a name is that account. `NAME-reader` may read repositories, `NAME-stranger` sees none.
// Tokens of the client `github` look like GitHub's.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, port, ...callbacks] = process.argv.slice(2);
const find = createRequire(`${modules}/`);
const { Provider } = await import(pathToFileURL(find.resolve("oidc-provider")));
const issuer = `http://127.0.0.1:${port}`;
const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "web", client_secret: "web-secret", redirect_uris: callbacks, response_types: ["code"],
      grant_types: ["authorization_code"], token_endpoint_auth_method: "client_secret_post",
    },
    {
      client_id: "github", client_secret: "github-secret", redirect_uris: callbacks, response_types: ["code"],
      grant_types: ["authorization_code"], token_endpoint_auth_method: "client_secret_post",
    },
    {
      client_id: "device", redirect_uris: [], response_types: [], grant_types: [DEVICE],
      token_endpoint_auth_method: "none", application_type: "native",
    },
    {
      client_id: "basic", client_secret: "basic-secret", redirect_uris: callbacks, response_types: ["code"],
      grant_types: ["authorization_code"], token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  scopes: ["openid", "repo", "groups"],
  claims: { openid: ["sub", "login"], groups: ["groups"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, login: id, groups: id.endsWith("-reader") ? ["staff"] : ["staff", "makers"] }),
  }),
  pkce: { required: () => true },
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true }, userinfo: { enabled: true } },
  routes: {
    authorization: "/login/oauth/authorize", token: "/login/oauth/access_token", userinfo: "/user",
    device_authorization: "/login/device/code", code_verification: "/login/device",
  },
  cookies: { keys: ["a key of the tests"] },
});

provider.use(async (ctx, next) => {
  if (ctx.get("authorization").startsWith("Bearer gho_")) {
    ctx.req.headers.authorization = ctx.get("authorization").replace("gho_", "");
  }
  await next();
  if (ctx.oidc?.client?.clientId === "github" && ctx.body?.access_token) {
    ctx.body = { ...ctx.body, access_token: `gho_${ctx.body.access_token}` };
  }
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/repos/")) return next();
  const token = await provider.AccessToken.find((ctx.get("authorization") || "").replace(/^Bearer /, ""));
  const id = token?.accountId;
  ctx.status = !token ? 401 : id.endsWith("-stranger") ? 404 : 200;
  ctx.body = ctx.status === 200
    ? { permissions: { admin: false, push: !id.endsWith("-reader"), pull: true } }
    : { message: "Not Found" };
});

provider.listen(Number(port), "127.0.0.1");
