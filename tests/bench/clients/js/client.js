// The official client: node client.js PORT WORKLOAD COUNT SIZE prints what the run has cost.
"use strict";

const fs = require("node:fs");
const { io } = require("socket.io-client");

const WINDOW = 100;
const BLOCK = 100;
const ATTACHMENT = 64 * 1024;

const [port, workload] = process.argv.slice(2, 4);
const [count, size] = process.argv.slice(4, 6).map(Number);
const batch = size > 1024 ? 100 : 1000;

function check(ok, what) {
  if (!ok) {
    console.error(`socket.io-client: ${what}`);
    process.exit(1);
  }
}

const message = (n) => ({ n, s: "x".repeat(size) });

function attachment(n) {
  const data = Buffer.alloc(size);
  data.write(String(n).padStart(8, "0"));
  return data;
}

async function connect() {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true });
  await new Promise((joined) => socket.on("connect", joined));
  return socket;
}

/** Checks what comes; resolves when all of it has come. */
function all(socket, messages, blobs) {
  const length = workload === "mix" ? ATTACHMENT : size;
  let [seen, got] = [0, 0];
  return new Promise((resolve) => {
    const come = () => seen === messages && got === blobs && resolve();
    socket.on("msg", ({ n, s }) => {
      check(n === seen % batch && s.length === size, `message ${seen}`);
      seen += 1;
      come();
    });
    socket.on("bin", (data) => {
      check(data.length === length, `the length of attachment ${got}`);
      check(Number(data.toString("latin1", 0, 8)) === got % batch, `attachment ${got}`);
      got += 1;
      come();
    });
  });
}

async function end(socket) {
  check((await socket.emitWithAck("end")) === count, "not all arrived");
}

/** Emits all, and waits now and then until they are written. */
async function produce(socket, name, make) {
  const chunk = Math.max(1, Math.min(500, Math.floor((4 * 1024 * 1024) / (size + 64))));
  for (let n = 0; n < count; n++) {
    socket.emit(name, make(n));
    if (n % chunk === 0 && socket.io.engine.writeBuffer.length > 0) {
      await new Promise((drained) => socket.io.engine.once("drain", drained));
    }
  }
  await end(socket);
}

const workloads = {
  async recv(socket) {
    const come = all(socket, count, 0);
    socket.emit("start");
    await come;
  },
  async bin(socket) {
    const come = all(socket, 0, count);
    socket.emit("start");
    await come;
  },
  emit: (socket) => produce(socket, "msg", message),
  binout: (socket) => produce(socket, "bin", attachment),
  async ack(socket) {
    const took = [];
    for (let n = 0; n < count; n++) {
      const begin = process.hrtime.bigint();
      check((await socket.emitWithAck("msg", message(n))) === n, `the answer to event ${n}`);
      took.push(Number(process.hrtime.bigint() - begin) / 1e3);
    }
    return took;
  },
  async pipe(socket) {
    let next = 0;
    let answered = 0;
    const lane = async () => {
      while (next < count) {
        const n = next++;
        check((await socket.emitWithAck("msg", message(n))) === n, `the answer to event ${n}`);
        answered += 1;
      }
    };
    await Promise.all(Array.from({ length: WINDOW }, lane));
    check(answered === count, "not all were answered");
  },
  async mix(socket) {
    const come = all(socket, count, count / BLOCK);
    for (let first = 0; first < count; first += BLOCK) {
      const last = first + BLOCK - 1;
      for (let n = first; n < last; n++) socket.emit("msg", message(n));
      check((await socket.emitWithAck("msg", message(last))) === last, `event ${last}`);
    }
    await come;
    await end(socket);
  },
};

function rssKib() {
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
}

const cpu = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function main() {
  const conns = workload === "conns";
  const first = await connect();
  const base_kib = rssKib();
  const wall = process.hrtime.bigint();
  const used = cpu();
  const kept = [first];
  let took;
  if (conns) {
    for (let n = 0; n < count; n += 50) {
      const some = Array.from({ length: Math.min(50, count - n) }, connect);
      kept.push(...(await Promise.all(some)));
    }
  } else {
    took = await workloads[workload](first);
  }
  const cpu_us = cpu() - used;
  const wall_us = Number(process.hrtime.bigint() - wall) / 1e3;
  if (conns) await new Promise((rested) => setTimeout(rested, 1000));
  took?.sort((a, b) => a - b);
  const part = (share) => took[Math.min(took.length - 1, Math.floor(share * took.length))];
  const latency_us = took ? [part(0.5), part(0.99), part(0.999)] : null;
  const report = { messages: count, cpu_us, wall_us, base_kib, rss_kib: rssKib(), latency_us };
  console.log(JSON.stringify(report));
  process.exit(0);
}

main();
