// Quintet's gRPC server from Node: each kind of call, with a deadline, over h2c or TLS.
//
// Nothing is generated: the contract is read when the program starts. A call with one response
// takes a callback, which becomes a promise here; a stream is an event emitter that `for await` reads.
"use strict";

const { readFileSync } = require("node:fs");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const DEADLINE_MS = 10_000;
const MINUTE_US = 60_000_000;

const [folder, ...rest] = process.argv.slice(2);
const { helloworld, quintet } = grpc.loadPackageDefinition(
  loadSync(["helloworld/helloworld.proto", "quintet/v1/quintet.proto", "quintet/v1/feed.proto"], {
    includeDirs: [folder],
    keepCase: true,
    longs: Number,
  }),
);

async function main() {
  const { values, positionals } = parseArgs({
    args: rest,
    allowPositionals: true,
    options: { ca: { type: "string" }, token: { type: "string" } },
  });
  const credentials = values.ca
    ? grpc.credentials.createSsl(readFileSync(values.ca))
    : grpc.credentials.createInsecure(); // h2c: HTTP/2 without TLS
  const metadata = new grpc.Metadata();
  if (values.token) {
    metadata.set("authorization", `Bearer ${readFileSync(values.token, "utf8").trim()}`);
  }
  const connect = (Service) => new Service(positionals[0], credentials);

  await hello(connect(helloworld.Greeter), metadata);
  await work(connect(quintet.v1.Quintet), metadata);
  await notifications(connect(quintet.v1.Feed), metadata);
  await errors(connect(quintet.v1.Quintet), metadata);
}

async function hello(greeter, metadata) {
  const reply = await ask(greeter, "SayHello", { name: "Node" }, metadata);
  console.log("hello:", reply.message);
  // One request, many replies.
  let greetings = 0;
  for await (const _ of greeter.SayHelloStreamReply({ name: "Node" }, metadata, soon())) {
    greetings += 1;
  }
  console.log("greetings:", greetings);
}

async function work(client, metadata) {
  const response = await ask(client, "Call", { id: 1, echo: Buffer.from("score") }, metadata);
  console.log("call:", response.payload.toString());
  // Many requests, many responses, both at once.
  const conversation = client.Converse(metadata, soon());
  for (const id of [1, 2, 3]) conversation.write({ id, compute_rounds: 10 });
  conversation.end();
  const ids = [];
  for await (const response of conversation) ids.push(response.id);
  console.log("conversation:", ...ids);
}

async function notifications(feed, metadata) {
  const events = feed.Subscribe({ topic: "node" }, metadata, soon());
  // Once the headers are here, nothing that is published is missed.
  await once(events, "metadata");
  for (const word of ["do", "re", "mi"]) {
    await ask(feed, "Publish", { topic: "node", payload: Buffer.from(word) }, metadata);
  }
  const heard = [];
  for await (const event of events) {
    heard.push(event.payload.toString());
    if (heard.length === 3) break; // this stream has no end of its own; to leave it cancels it
  }
  console.log("feed:", ...heard);
}

async function errors(client, metadata) {
  await ask(client, "Call", { id: 2, wait_us: MINUTE_US + 1 }, metadata).catch((error) => {
    console.log("refused:", grpc.status[error.code], error.details);
  });
  await ask(client, "Call", { id: 3, wait_us: MINUTE_US }, metadata, soon(100)).catch((error) => {
    console.log("too late:", grpc.status[error.code]);
  });
}

/** A call with one request and one response. */
function ask(client, method, request, metadata, options = soon()) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, options, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

/** Until when the answer is worth something. */
function soon(ms = DEADLINE_MS) {
  return { deadline: Date.now() + ms };
}

main().catch((error) => {
  console.error(error.code in grpc.status ? `${grpc.status[error.code]}: ${error.details}` : error);
  process.exitCode = 1;
});
