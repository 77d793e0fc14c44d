// Takes two tokens with simple-oauth2 and revokes one of them. It has no discovery, so it is told the endpoints; it reads
// each answer as JSON. Prints the tokens as one JSON object.

import { ClientCredentials } from "simple-oauth2";

const { ISSUER, METHOD, CLIENT_ID, CLIENT_SECRET } = process.env;

const client = new ClientCredentials({
  client: { id: CLIENT_ID, secret: CLIENT_SECRET },
  auth: { tokenHost: ISSUER, tokenPath: "/oauth2/token", revokePath: "/oauth2/revoke" },
  options: { authorizationMethod: { client_secret_basic: "header", client_secret_post: "body" }[METHOD] },
});

const good = await client.getToken({ scope: ["reviews.read"] });
const revoked = await client.getToken({});
await revoked.revoke("access_token");

console.log(JSON.stringify({ good: good.token.access_token, revoked: revoked.token.access_token }));
