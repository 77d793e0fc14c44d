// Opens a stream that is silent, asks twice a second whether the server is there, and says how the stream is after SECONDS.
import { readFileSync } from "node:fs";
import { Client, Metadata, credentials } from "@grpc/grpc-js";

const { GATEWAY, CA, METHOD, TOKEN, INTERVAL_MS, SECONDS } = process.env;
const client = new Client(GATEWAY, credentials.createSsl(readFileSync(CA)), {
  "grpc.keepalive_time_ms": Number(INTERVAL_MS),
  "grpc.keepalive_timeout_ms": 5_000,
});
const metadata = new Metadata();
if (TOKEN) metadata.set("authorization", `Bearer ${TOKEN}`);
const bytes = (message) => message;
const stream = client.makeServerStreamRequest(METHOD, bytes, bytes, Buffer.alloc(0), metadata);

const tell = (outcome) => {
  console.log(outcome);
  process.exit(0);
};
stream.on("data", () => {});
stream.on("error", (error) => tell(`${error.code} ${error.details}`));
stream.on("end", () => tell("ended"));
setTimeout(() => tell("open"), Number(SECONDS) * 1000);
