// A CSMS for OCPP 1.6 that asks csms-redis which stations it lets in, and which tokens are valid.

const { createHash, timingSafeEqual } = require("node:crypto");
const { RPCServer } = require("ocpp-rpc");

const registry = process.env.REGISTRY ?? "http://127.0.0.1:9410/api/v0";
const secret = process.env.REGISTRY_SECRET; // of a client with the role gateway, where [auth] is set
const headers = secret ? { Authorization: `Bearer ${secret}` } : {};

// Ask the registry: null for a 404, an error for every other answer, and for none.
async function lookUp(path) {
  const reply = await fetch(`${registry}/${path}`, { headers, signal: AbortSignal.timeout(10000) });
  const body = await reply.json();
  if (reply.ok) return body;
  if (reply.status === 404) return null;
  throw new Error(body.error);
}

// `password` is a Buffer: its bytes are hashed as they came, for no text has all of them.
function isRight(password, known) {
  const given = Buffer.from(createHash("sha256").update(password).digest("base64"));
  const stored = Buffer.from(known ?? "");
  return given.length === stored.length && timingSafeEqual(given, stored);
}

const server = new RPCServer({ protocols: ["ocpp1.6"] });

server.auth(async (accept, reject, { identity, password }) => {
  try {
    // a slash at the end of the station's URL makes an empty identity
    const station = identity && (await lookUp(`cs/${encodeURIComponent(identity)}/auth`));
    if (!station) return reject(404, "unknown station");
    // undefined where there is no HTTP Basic, or with another user than the identity
    if (!password) return reject(401, "HTTP Basic is needed");
    // a certificate is needed, which is not looked at here
    if (station.securityProfile === 2) return reject(401, "a certificate is needed");
    if (!isRight(password, station.base64SHA256Password)) return reject(401, "wrong credentials");
    accept({ identity });
  } catch (error) {
    console.error(`the registry does not answer: ${error.message}`);
    reject(503, "try again");
  }
});

server.on("client", (client) => {
  client.handle("BootNotification", () => (
    { status: "Accepted", interval: 300, currentTime: new Date().toISOString() }
  ));
  client.handle("Authorize", async ({ params }) => {
    const token = await lookUp(`token/${encodeURIComponent(params.idTag)}`);
    return { idTagInfo: { status: !token ? "Invalid" : token.valid ? "Accepted" : "Blocked" } };
  });
});

server.listen(Number(process.env.PORT ?? 9310), "127.0.0.1").then((listener) => {
  console.log(`listening on ${listener.address().port}`);
});
