// Goes all the way with openid-client, which knows nothing of Sekisho: discovery, registration with a key of its own,
// token, introspection, revocation, update, deletion. Prints what it saw as one JSON object.

import * as oauth from "openid-client";

const { ISSUER, MASTER_ID, MASTER_SECRET, SOFTWARE_STATEMENT } = process.env;
const issuer = new URL(ISSUER);
const options = { algorithm: "oauth2" };

const master = await oauth.discovery(issuer, MASTER_ID, undefined, oauth.ClientSecretBasic(MASTER_SECRET), options);
const masters = await oauth.clientCredentialsGrant(master, { scope: "clients.write" });

const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
const shop = await oauth.dynamicClientRegistration(
  issuer,
  {
    software_statement: SOFTWARE_STATEMENT,
    client_name: "Tea House",
    token_endpoint_auth_method: "private_key_jwt",
    jwks: { keys: [{ kty, crv, x, y, kid: "one" }] },
  },
  oauth.PrivateKeyJwt({ key: pair.privateKey, kid: "one" }),
  { ...options, initialAccessToken: masters.access_token },
);
const registered = shop.clientMetadata();

const token = await oauth.clientCredentialsGrant(shop);
const before = await oauth.tokenIntrospection(shop, token.access_token);
await oauth.tokenRevocation(shop, token.access_token);
const after = await oauth.tokenIntrospection(shop, token.access_token);

const manage = (method, body) =>
  oauth.fetchProtectedResource(
    shop,
    registered.registration_access_token,
    new URL(registered.registration_client_uri),
    method,
    body && JSON.stringify(body),
    body && new Headers({ "content-type": "application/json" }),
  );
const changed = await manage("PUT", { client_id: registered.client_id, client_name: "Coffee House" });
const deleted = await manage("DELETE");
const gone = await oauth.clientCredentialsGrant(shop).then(() => "", (error) => error.status);

console.log(
  JSON.stringify({
    master_scope: masters.scope,
    has_secret: "client_secret" in registered,
    client_id: registered.client_id,
    introspected: before.client_id,
    after,
    changed: (await changed.json()).client_name,
    deleted: deleted.status,
    gone,
  }),
);
