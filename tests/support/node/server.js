"use strict";

// One official Socket.IO server for the integration tests, of the line asked for:
//
//   node server.js '{"line":"4.8.4","options":{},"middleware":"none","port":0}'
//
// With "tls", the options of an https server, it speaks TLS there; "control" is then another port, where
// the pages for the test are to be had without it.
//
// It prints {"ready":PORT,"control":PORT} and runs until its standard input ends, so that no server outlives the
// test process which started it, however that process dies.

const http = require("http");
const https = require("https");

const defaults = { options: {}, middleware: "none", msgpack: false, dedupe: false, port: 0, tls: null };
const config = { ...defaults, ...JSON.parse(process.argv[2]) };
const attach = require(`sio-${config.line}`);

const connections = {};
const disconnections = {};
// Messages that the server has discarded, since the connection that they waited for was gone.
let discarded = 0;
const counts = {};
// What came in each stream, over all sockets.
const recorded = {};
// Numbers to be emitted to whoever is in "/", by the stream they belong to.
const pumps = {};
// What clients answered to whatever was emitted to everybody.
const answers = [];
// The one that lets into "/guarded", and those that were shown there.
let token = "";
const tokens = [];

function refusal(message, data) {
  return Object.assign(new Error(message), { data });
}

function add(counters, key) {
  counters[key] = (counters[key] || 0) + 1;
}

// The acknowledgement callback, when the client asked for one, is always the last argument.
function splitAck(args) {
  const last = args[args.length - 1];
  return typeof last === "function" ? [args.slice(0, -1), last] : [args, null];
}

// 1.x and 2.x do not send these, they emit them locally and say nothing; the later lines throw.
const local = /^[12]\./.test(config.line)
  ? ["error", "connect", "disconnect", "disconnecting", "newListener", "removeListener"]
  : [];

// Emits unless the server line reserves the name, and answers whether it did.
function tryEmit(socket, event, ...args) {
  if (local.includes(event)) {
    return false;
  }
  try {
    socket.emit(event, ...args);
    return true;
  } catch (_) {
    return false;
  }
}

function cut(socket) {
  const { socket: websocket, req: poll } = socket.conn.transport;
  if (websocket) return websocket._socket.destroy();
  // By polling, that of the poll which waits. Between two polls the client has nothing that could break.
  if (poll) return poll.socket.destroy();
  if (socket.connected) setImmediate(cut, socket);
}

// Handles each message once and gives every copy of it the same answer: a message is told from
// others by the id in its last argument.
function dedupe() {
  const answers = new Map(); // by id; bound it as it suits you
  return (socket) => socket.use((packet, next) => {
    const ack = packet.at(-1), id = packet.at(-2)?.messageId;
    if (typeof ack !== "function" || !id) return next();
    packet.splice(-2, 1); // handlers do not see it
    if (answers.has(id)) return answers.get(id).then((answer) => ack(...answer));
    let done;
    answers.set(id, new Promise((resolve) => { done = resolve; }));
    packet[packet.length - 1] = (...answer) => { done(answer); ack(...answer); };
    // The handler runs in a tick of its own, unless the socket is gone by then.
    process.nextTick(() => socket.connected || answers.delete(id));
    next();
  });
}

// Emits the numbers of a stream as `record` events, from where they ended when the last connection
// was lost. One in ten asks for an answer, and not too many wait for one.
function pump(socket, stream) {
  const numbers = pumps[stream];
  let asked = 0;
  let settled = 0;
  // Answers come in order: behind one, none comes to the questions before it.
  const settle = (question) => {
    settled = Math.max(settled, question);
  };
  const step = () => {
    for (let i = 0; i < 50 && asked - settled < 20; i += 1) {
      const n = numbers.next;
      if (!socket.connected || n === numbers.count) {
        return;
      }
      numbers.next += 1;
      if (n % 10) {
        socket.emit("record", stream, n);
      } else {
        const question = (asked += 1);
        // It may be that all those that are open are lost.
        setTimeout(settle, 1_000, question);
        socket.emit("record", stream, n, (answer) => {
          settle(question);
          numbers.answers.push([n, answer]);
        });
      }
    }
    // The connection gets its turn.
    setTimeout(step, 0);
  };
  step();
}

const RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

function serve(name) {
  return (socket) => {
    add(connections, name);
    socket.on("disconnect", () => add(disconnections, name));
    if (name === "/") {
      Object.keys(pumps).forEach((stream) => pump(socket, stream));
    }

    socket.on("echo", (...received) => {
      const [args, ack] = splitAck(received);
      if (ack) {
        ack(...args);
      } else {
        socket.emit("echo", ...args);
      }
    });
    socket.on("say", (...received) => {
      const [[event, ...args]] = splitAck(received);
      tryEmit(socket, event, ...args);
    });
    socket.on("ask", (...received) => {
      const [[event, ...args]] = splitAck(received);
      tryEmit(socket, event, ...args, (...answer) => socket.emit("answered", ...answer));
    });

    // What a text in JSON says, which may be what the client cannot: halves of characters, and objects
    // that look like the place of an attachment.
    socket.on("parsed", (...received) => {
      const [[event, json, ...more], ack] = splitAck(received);
      const args = [...JSON.parse(json), ...more];
      if (ack) {
        ack(...args);
      } else {
        tryEmit(socket, JSON.parse(event), ...args);
      }
    });

    // As Feathers and many other services answer: the error first, and nothing behind it.
    socket.on("find", (number, callback) => {
      if (number === 7) {
        callback(null, { number, seats: [1, 2] });
      } else if (number === 0) {
        callback(null);
      } else {
        callback({ name: "NotFound", message: "no such flight", code: 404 });
      }
    });
    socket.on("fail", (callback) => callback(new Error("lost"), undefined));

    socket.on("silent", () => {});
    socket.on("number", (ack) => ack(7));
    socket.on("several", (ack) => ack(1, "two", [3]));
    socket.on("none", (ack) => ack());
    socket.on("later", (delay, value, ack) => setTimeout(() => ack(value), delay));
    socket.on("buffer", (ack) => {
      ack({ data: Buffer.from([0, 255, 0]), again: [Buffer.from([7])] });
    });

    socket.on("noargs", () => socket.emit("noargs"));
    socket.on("nested", () => {
      socket.emit("nested", { id: 42, body: Buffer.from([1, 2, 3]), tail: "text" });
    });
    socket.on("bintext", () => socket.emit("bintext", "extra", Buffer.from([4, 5]), "after"));
    socket.on("twobufs", () => socket.emit("twobufs", Buffer.from([1]), Buffer.from([2, 3])));
    // What JSON does not know.
    socket.on("exotic", () => {
      socket.emit("exotic", new Date(1500), undefined, [NaN, undefined], new Uint8Array([1, 2]));
    });
    socket.on("lifecycle", () => {
      const events = ["close", "error", "open", "message"];
      const sent = events.filter((event) => tryEmit(socket, event, "x"));
      // The server emits no events of these names, but what adds to it may send them.
      for (const event of RESERVED) {
        socket.packet({ type: 2, data: [event, "x"] });
      }
      socket.emit("lifecycle_done", [...sent, ...RESERVED]);
    });
    socket.on("burst", (n) => {
      for (let i = 0; i < n; i += 1) {
        socket.emit("n", i);
      }
      socket.emit("burst_done", n);
    });

    if (/^[12]/.test(config.line) && socket.use) {
      socket.use(([event, ...args], next) => {
        next(event === "unwanted" ? refusal(...args) : undefined);
      });
    }
    socket.on("leave", () => socket.disconnect());
    socket.on("kick", () => socket.disconnect(true));
    socket.on("cut", () => cut(socket));

    socket.on("id", (ack) => ack(socket.id));
    socket.on("handshake", (ack) => {
      const { auth = null, query, headers } = socket.handshake;
      ack({ auth, query, headers });
    });
    socket.on("count", (key, ack) => {
      add(counts, key);
      if (ack) {
        ack(counts[key]);
      }
    });
    socket.on("counted", (key, ack) => ack(counts[key] || 0));
    socket.on("record", (stream, n, ack) => {
      (recorded[stream] ||= []).push(n);
      if (ack) {
        ack(n);
      }
    });
    // The answer takes a while.
    socket.on("record_slowly", (stream, n, delay, ack) => {
      (recorded[stream] ||= []).push(n);
      setTimeout(() => ack(n), delay);
    });
    // Twice the number, and one more if the event says that it may have come before.
    socket.on("record_durably", (stream, n, { redelivered = false }, ack) => {
      (recorded[stream] ||= []).push(2 * n + (redelivered ? 1 : 0));
      setTimeout(() => ack(n), 100);
    });
    // Says it back, and records the answers to that in a stream of their own.
    socket.on("respond", (stream, n) => {
      (recorded[stream] ||= []).push(n);
      socket.emit("said", stream, n, (answer) => (recorded[`${stream}-answers`] ||= []).push(answer));
    });
  };
}

// Ways to emit to everybody in a namespace.
const emitters = {
  plain: (to, args) => to.emit(...args),
  binary: (to, args) => to.emit(...args, Buffer.from([1, 2, 3])),
  volatile: (to, args) => to.volatile.emit(...args),
  asking: (to, args) => to.timeout(10000).emit(...args, (_, some) => answers.push(...some)),
};

const handle = (request, response) => {
  const url = new URL(request.url, "http://localhost");
  const reply = (body) => {
    response.setHeader("Content-Type", "application/json");
    response.setHeader("Connection", "close");
    response.end(JSON.stringify(body));
  };
  if (url.pathname === "/stats") {
    reply({ connections, disconnections });
  } else if (url.pathname === "/discarded") {
    reply(discarded);
  } else if (url.pathname === "/counted") {
    reply(counts[url.searchParams.get("name")] || 0);
  } else if (url.pathname === "/recorded") {
    reply(recorded[url.searchParams.get("stream")] || []);
  } else if (url.pathname === "/publish") {
    const { namespace, name, from, count } = Object.fromEntries(url.searchParams);
    for (let i = 0; i < Number(count); i += 1) {
      io.of(namespace).emit(name, Number(from) + i);
    }
    reply(true);
  } else if (url.pathname === "/emit") {
    const { namespace, how, args } = Object.fromEntries(url.searchParams);
    emitters[how](io.of(namespace), JSON.parse(args));
    reply(true);
  } else if (url.pathname === "/answers") {
    reply(answers);
  } else if (url.pathname === "/pump") {
    const { stream, count } = Object.fromEntries(url.searchParams);
    pumps[stream] = { next: 0, count: Number(count), answers: [] };
    Object.values(io.of("/").connected || Object.fromEntries(io.of("/").sockets))
      .forEach((socket) => pump(socket, stream));
    reply(true);
  } else if (url.pathname === "/pumped") {
    reply(pumps[url.searchParams.get("stream")]);
  } else if (url.pathname === "/token") {
    token = url.searchParams.get("is");
    reply(true);
  } else if (url.pathname === "/tokens") {
    reply(tokens);
  } else if (url.pathname === "/shutdown") {
    response.on("finish", () => io.close());
    reply(true);
  } else if (url.pathname === "/engine") {
    const clients = Object.values(io.engine.clients);
    if (url.searchParams.has("close")) {
      clients.forEach((client) => client.close());
    }
    reply(clients.length);
  } else {
    response.statusCode = 404;
    reply("not found");
  }
};
const server = config.tls ? https.createServer(config.tls, handle) : http.createServer(handle);
const control = config.tls ? http.createServer(handle) : server;

if (config.msgpack) {
  config.options.parser = require(/^2/.test(config.line) ? "msgpack-2.2.1" : "msgpack-3.0.2");
  // The encoder does not write all of the memory that it takes for a message. What it leaves is chance,
  // and here it never is text.
  const { allocUnsafe } = Buffer;
  Buffer.allocUnsafe = (size) => allocUnsafe(size).fill(0xff);
}
const io = attach(server, config.options);
io.engine.on("connection", (client) =>
  client.on("close", () => {
    discarded += client.writeBuffer.filter((packet) => packet.type === "message").length;
  }),
);

const once = dedupe();
for (const name of ["/", "/foo", "/bar", "/no", "/late", "/guarded", "/sulky"]) {
  if (config.dedupe) {
    io.of(name).on("connection", once);
  }
  io.of(name).on("connection", serve(name));
}
// Emits at once, and nothing else.
io.of("/eager").on("connection", (socket) => socket.emit("welcome", 1));
if (config.middleware === "slow") {
  io.use((_, next) => setTimeout(next, 700));
} else if (config.middleware === "refuse") {
  io.use((_, next) => next(refusal("denied", { code: 42 })));
}
io.of("/no").use((_, next) => next(refusal("auth failed", { code: 42, why: "no" })));
io.of("/guarded").use(({ handshake: { auth, query } }, next) => {
  const shown = (auth || query).token;
  tokens.push(shown === undefined ? null : shown);
  next(shown === token ? undefined : refusal("wrong token", { code: 401 }));
});
// As middleware for web tokens does it; what is in the data is all that 1.x and 2.x send.
io.of("/jwt").use((_, next) => {
  const why = { message: "jwt expired", code: "invalid_token", type: "UnauthorizedError" };
  next(refusal(why.message, why));
});
io.of("/late").use((_, next) => setTimeout(next, 200));
// Never answers the first request to join it.
let sulks = true;
io.of("/sulky").use((_, next) => {
  if (!sulks) next();
  sulks = false;
});

const ready = () => {
  console.log(JSON.stringify({ ready: server.address().port, control: control.address().port }));
};
server.listen(config.port, "127.0.0.1", () => {
  if (config.tls) {
    control.listen(0, "127.0.0.1", ready);
  } else {
    ready();
  }
});

// Such as a port which is taken.
server.on("error", (error) => {
  console.error(error);
  process.exit(1);
});

// One test's mistake, say a missing callback, must not take the server away from all the others.
process.on("uncaughtException", (error) => console.error(error));

process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
