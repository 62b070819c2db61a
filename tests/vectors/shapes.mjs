// Plays the conversations of shapes.json to the official clients, and writes down in it what they got.
//
//     npm ci && npm run shapes
//
// Each conversation is what a server of some make says; tests/wire_shapes.rs plays them to this client. Of one:
//
//     line      the protocol of the server: 2 is played to socket.io-client 2, 4 to socket.io-client 4
//     ns        the namespace that is joined; "/" if it is not there
//     do        what is emitted once it is joined, one after the other; with `ack`, the answer is waited for
//     auto      [text, answer, EIO]: what is said whenever the client says that, always or to that EIO only; CLOSE
//               closes
//     frames    what is said, in order. s: a text; b: a binary message, of UTF-8 or (hex) of bytes; x: waits until the
//               client says what begins like that, where $1 is a number, and the same in what follows; w: waits for so
//               many milliseconds; close: closes, 0 without a code
//     frames3   the same to a client that asks for EIO=3
//     official  what the client made of it, and is written here. Half characters in it are U+FFFD, as serde wants it,
//               and bytes are {"$bin":hex}
//
// Of `official.errors`, those that the client has thought of by itself are null, since it has its own words for them.
//
// Behind the frames comes one more event, "the end of the shape", unless the server has closed. An answer that is not
// there after a second is null.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { io as io4 } from "socket.io-client-v4";
import { WebSocketServer } from "ws";

const io2 = createRequire(import.meta.url)("socket.io-client-v2");
const END = "the end of the shape";
const FILE = new URL("shapes.json", import.meta.url);

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

/// Says what the shape has to say to one client.
async function play(shape, webSocket, eio) {
  const heard = [];
  let wake = () => {};
  let isOpen = true;
  webSocket.on("close", () => (isOpen = false));
  webSocket.on("message", (data, isBinary) => {
    if (isBinary) return;
    const text = data.toString();
    for (const [said, answer, only] of shape.auto) {
      if (said !== text || (only && only !== eio)) continue;
      if (answer === "CLOSE") webSocket.close();
      else webSocket.send(answer);
    }
    heard.push(text);
    wake();
  });
  let group = "";
  for (const step of (eio === "3" && shape.frames3) || shape.frames) {
    if (step.s !== undefined) webSocket.send(step.s.replace("$1", group));
    if (step.b !== undefined) webSocket.send(Buffer.from(step.b, step.hex ? "hex" : "utf8"));
    if (step.w !== undefined) await pause(step.w);
    if (step.close !== undefined) return step.close ? webSocket.close(step.close) : webSocket.close();
    while (step.x !== undefined && isOpen) {
      const text = heard.shift();
      if (text === undefined) {
        await new Promise((resolve) => (wake = resolve));
        continue;
      }
      const [before, behind] = step.x.split("$1");
      const number = behind === undefined ? "" : /^\d*/.exec(text.slice(before.length))[0];
      if (!text.startsWith(before + number + (behind ?? ""))) continue;
      group = number;
      break;
    }
  }
  // For what the client does to the last of it.
  await pause(100);
  webSocket.send(`42${shape.ns ? shape.ns + "," : ""}["${END}"]`);
}

function shown(value) {
  if (typeof value === "string") return value.toWellFormed();
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return { $bin: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(shown);
  if (value instanceof Object) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [shown(key), shown(inner)]));
  return value;
}

/// What the client gets.
async function listen(shape, url) {
  const official = { joined: false, events: [], answers: undefined, errors: undefined, end: undefined };
  const io = shape.line === "4" ? io4 : io2;
  let emitted;
  const socket = io(url + (shape.ns ?? "/"), { transports: ["websocket"], reconnection: false, forceNew: true });
  await new Promise((resolve) => {
    const event = (args) => {
      if (args[0] === END) resolve();
      else official.events.push(shown(args));
    };
    if (shape.line === "4") {
      socket.onAny((...args) => {
        if (typeof args.at(-1) === "function") args.pop()();
        event(args);
      });
    } else {
      // Its parser throws over what it cannot read. In a page, that is the end of this message only.
      const { io: manager } = socket;
      const ondata = manager.ondata;
      manager.ondata = function (data) {
        try {
          ondata.call(this, data);
        } catch (error) {
          console.log(`${shape.name}: ${error.message}`);
        }
      };
      const early = [];
      const onevent = socket.onevent;
      socket.onevent = function (packet) {
        const args = [...packet.data];
        onevent.call(this, packet);
        if (!this.connected) return early.push(args);
        if (packet.id !== undefined) this.ack(packet.id)();
        event(args);
      };
      socket.on("connect", () => early.splice(0).forEach(event));
    }
    const emit = async () => {
      for (const { emit, ack } of shape.do ?? []) {
        if (!ack) {
          socket.emit(...emit);
          continue;
        }
        const answer = await Promise.race([
          new Promise((resolve) => socket.emit(...emit, (...args) => resolve(shown(args)))),
          pause(1000).then(() => null),
        ]);
        (official.answers ??= []).push(answer);
      }
    };
    socket.on("connect", () => {
      official.joined = true;
      emitted = emit();
    });
    const error = (data) => {
      (official.errors ??= []).push(shown(data));
      if (!socket.connected) resolve();
    };
    socket.on("error", error);
    // What a server has refused has data, if only undefined.
    socket.on("connect_error", (refusal) => error("data" in refusal ? refusal.message : null));
    socket.on("disconnect", (reason) => {
      official.end = reason;
      resolve();
    });
    pause(8000).then(resolve);
  });
  await emitted;
  socket.off("disconnect");
  socket.disconnect();
  return official;
}

async function record(shape) {
  const server = createServer();
  const webSockets = new WebSocketServer({ server });
  webSockets.on("connection", (webSocket, request) => {
    play(shape, webSocket, new URL(request.url, "http://localhost").searchParams.get("EIO"));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  shape.official = await listen(shape, `http://127.0.0.1:${server.address().port}`);
  console.log(shape.name, JSON.stringify(shape.official));
}

const shapes = JSON.parse(readFileSync(FILE));
await Promise.all(shapes.map(record));
writeFileSync(FILE, `[\n${shapes.map((shape) => "  " + JSON.stringify(shape)).join(",\n")}\n]\n`);
process.exit();
