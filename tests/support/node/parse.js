// Reads messages as the official parsers do: for each line of JSON, a list of messages (text, or `{"bin":hex}`),
// one line with what became of each, up to the first that was refused:
// `{"packet":…}`, `{"refused":why}`, or `{}` if it was no packet, or more is to come,
// and `{"deep":true}` if it is nested too deep for this.
//
//     node parse.js 2.5.1
"use strict";

const readline = require("node:readline");

const version = process.argv[2];
const modules = `./node_modules/sio-${version}/node_modules`;
const engine = require(`${modules}/engine.io-parser`);
const { Decoder } = require(`${modules}/socket.io-parser`);
const isOld = version.startsWith("2.");

const MAX_DEPTH = 100;

// JSON has no buffers, no halves of surrogate pairs, and no infinity.
function plain(value, depth = 0) {
  if (depth > MAX_DEPTH) throw new RangeError("too deep");
  if (Buffer.isBuffer(value)) return { $bin: value.toString("hex") };
  if (typeof value === "string") {
    return value.replace(/[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]/g, (c) => (c.length === 2 ? c : "\ufffd"));
  }
  if (typeof value === "number" && !Number.isFinite(value)) return Math.sign(value) * Number.MAX_VALUE;
  if (Array.isArray(value)) return value.map((member) => plain(member, depth + 1));
  if (value !== null && typeof value === "object") {
    const copy = Object.create(null);
    for (const [key, member] of Object.entries(value)) copy[plain(key)] = plain(member, depth + 1);
    return copy;
  }
  return value;
}

function read(messages) {
  const decoder = new Decoder();
  let packet;
  decoder.on("decoded", (decoded) => (packet = decoded));
  const outcomes = [];
  for (const message of messages) {
    packet = undefined;
    let refused;
    try {
      const binary = typeof message === "string" ? message : Buffer.from(message.bin, "hex");
      const { type, data } = engine.decodePacket(binary, "nodebuffer");
      if (type === "error") refused = data;
      if (type === "message") decoder.add(data);
    } catch (error) {
      refused = error.message;
    }
    // A parser 2.x tells of an error by a packet.
    if (isOld && packet?.type === 4 && packet.nsp === undefined) refused = packet.data;
    if (refused !== undefined) {
      outcomes.push({ refused: String(refused) });
      break;
    }
    try {
      outcomes.push(packet === undefined ? {} : { packet: plain({ ...packet }) });
    } catch {
      outcomes.push({ deep: true });
      break;
    }
  }
  return outcomes;
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => process.stdout.write(`${JSON.stringify(read(JSON.parse(line)))}\n`));
