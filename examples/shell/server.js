"use strict";

// The server of the shell example, with the official library: see main.rs for what it is, and wire.rs for what client
// and server say to each other. The token opens a shell. It listens on loopback only.
//
//   PORT          where it listens on 127.0.0.1; 4022 by default, 0 is any free port
//   SHELL_TOKEN   the token, 16 characters or more; without one, it is made and printed
//   SHELL_KEEP    seconds for which a shell waits for its client when the connection is lost; 60 by default
//
// Node.js has no pseudo terminals of its own. This one comes from the standard library of Python 3, see terminal.py; a
// native module, such as node-pty, would save that process.

const { spawn } = require("child_process");
const crypto = require("crypto");
const http = require("http");
const path = require("path");
const { Server } = require("socket.io");

const PIECE = 32 * 1024;
// The output that is kept until the client has shown it. When it is that much, the shell has to wait.
const KEPT = 1024 * 1024;
// Events with output whose answers are awaited at a time.
const UNDER_WAY = 16;
// Shells that are open at a time.
const SHELLS = 64;

const token = process.env.SHELL_TOKEN || crypto.randomBytes(16).toString("hex");
if (token.length < 16) {
  console.error("the token is too short: use 16 characters or more");
  process.exit(1);
}
const keep = Number(process.env.SHELL_KEEP || 60) * 1000;

const sessions = new Map();

class Session {
  constructor({ session, size: [rows, columns], term, command }) {
    this.name = session;
    this.socket = null;
    // The output that the client has not shown yet: pieces, the number of the first byte, of the next one for the
    // client, and of the next one of the shell.
    this.pieces = [];
    this.start = 0;
    this.next = 0;
    this.end = 0;
    this.underWay = 0;
    this.received = 0;
    this.code = null;
    const shell = process.env.SHELL || "/bin/sh";
    const line = command === null ? [shell] : [shell, "-c", command];
    const { SHELL_TOKEN, ...env } = process.env;
    this.child = spawn("python3", [path.join(__dirname, "terminal.py"), rows, columns, ...line], {
      stdio: ["pipe", "pipe", "inherit", "pipe"],
      env: { ...env, TERM: term },
      // Ctrl-C is for the server.
      detached: true,
    });
    this.child.stdout.on("data", (data) => this.take(data));
    this.child.on("error", (error) => {
      this.code = 127;
      this.take(Buffer.from(`no shell could be started: ${error.message}\r\n`));
    });
    this.child.on("close", (code) => {
      this.code ??= code ?? 255;
      this.transmit();
    });
    // A shell that has ended reads no more.
    this.child.stdin.on("error", () => {});
    this.child.stdio[3].on("error", () => {});
    this.wait();
  }

  wait() {
    this.socket = null;
    this.timer = setTimeout(() => this.close(), keep);
  }

  close() {
    clearTimeout(this.timer);
    sessions.delete(this.name);
    // Its end takes the terminal away from the shell.
    this.child.stdin.destroy();
    this.child.stdout.destroy();
    this.socket?.disconnect();
  }

  attach(socket, from) {
    clearTimeout(this.timer);
    const before = this.socket;
    this.socket = socket;
    // Its connection is lost, which has not been noticed yet.
    before?.disconnect(true);
    this.shown(from);
    // Output that was under way may be lost.
    this.underWay = 0;
    this.next = this.start;
    this.transmit();
  }

  take(data) {
    this.pieces.push(data);
    this.end += data.length;
    if (this.end - this.start >= KEPT) {
      this.child.stdout.pause();
    }
    this.transmit();
  }

  // Sends the client what it may have now: output, and then the exit code.
  transmit() {
    const { socket } = this;
    while (socket !== null && this.next < this.end && this.underWay < UNDER_WAY) {
      const from = this.next;
      const piece = this.piece(from);
      this.next += piece.length;
      this.underWay += 1;
      socket.emit("output", from, piece, () => {
        this.shown(from + piece.length);
        if (this.socket === socket) {
          this.underWay -= 1;
          this.transmit();
        }
      });
    }
    if (socket !== null && this.code !== null && this.start === this.end) {
      socket.emit("exit", this.code, () => this.close());
    }
  }

  // Output from this byte on, at most a piece of it.
  piece(from) {
    let skip = from - this.start;
    let index = 0;
    while (skip >= this.pieces[index].length) {
      skip -= this.pieces[index].length;
      index += 1;
    }
    const parts = [this.pieces[index].subarray(skip, skip + PIECE)];
    let length = parts[0].length;
    while (length < PIECE && ++index < this.pieces.length) {
      parts.push(this.pieces[index].subarray(0, PIECE - length));
      length += parts.at(-1).length;
    }
    return Buffer.concat(parts);
  }

  // Forgets what is before this byte.
  shown(next) {
    while (this.pieces.length > 0 && this.start + this.pieces[0].length <= next) {
      this.start += this.pieces.shift().length;
    }
    if (this.start < next && this.pieces.length > 0) {
      this.pieces[0] = this.pieces[0].subarray(next - this.start);
      this.start = next;
    }
    if (this.end - this.start < KEPT) {
      this.child.stdout.resume();
    }
  }

  // Answers when the shell has taken it.
  input(from, bytes, answer) {
    if (from > this.received || bytes.length > PIECE) {
      this.socket?.disconnect();
      return;
    }
    const fresh = bytes.subarray(this.received - from);
    this.received += fresh.length;
    // Even if there is nothing new, this waits for what is there.
    this.child.stdin.write(fresh, () => answer());
  }

  resize([rows, columns]) {
    this.child.stdio[3].write(`${rows} ${columns}\n`);
  }
}

function isSame(shown) {
  const digest = (text) => crypto.createHash("sha256").update(String(text)).digest();
  return crypto.timingSafeEqual(digest(shown), digest(token));
}

const server = http.createServer();
const io = new Server(server);

io.use((socket, next) => {
  const hello = socket.handshake.auth;
  if (!isSame(hello.token)) {
    next(new Error("a shell is opened with a token, which is missing or wrong"));
  } else if (sessions.has(hello.session)) {
    next();
  } else if (!hello.is_new) {
    next(new Error(`the session is over: it is kept for ${keep / 1000} s without a client`));
  } else if (sessions.size >= SHELLS) {
    next(new Error(`${SHELLS} shells are open already`));
  } else {
    sessions.set(hello.session, new Session(hello));
    next();
  }
});

io.on("connection", (socket) => {
  const hello = socket.handshake.auth;
  const session = sessions.get(hello.session);
  if (session === undefined) {
    socket.disconnect();
    return;
  }
  socket.on("input", (from, bytes, answer) => session.input(from, bytes, answer));
  socket.on("resize", (...size) => session.resize(size));
  socket.on("disconnect", (reason) => {
    if (session.socket !== socket) {
      return;
    }
    if (reason === "client namespace disconnect") {
      session.close();
    } else {
      session.wait();
    }
  });
  session.attach(socket, hello.from);
  session.resize(hello.size);
});

function stop() {
  for (const session of [...sessions.values()]) {
    session.close();
  }
  io.close(() => process.exit(0));
}
process.on("SIGINT", stop);
process.on("SIGTERM", stop);

server.listen(Number(process.env.PORT || 4022), "127.0.0.1", () => {
  console.error("A shell for whoever has the token, on loopback only.");
  // A token that was given is known.
  const fragment = process.env.SHELL_TOKEN ? "" : `#${token}`;
  console.log(`http://127.0.0.1:${server.address().port}/${fragment}`);
});
