"use strict";

// The server of the flights example: it announces flights to everyone, books hotel rooms (or keeps
// the client waiting) and finds tickets, until it says goodbye.
//
//   PORT              where it listens on 127.0.0.1; 3210 by default
//   FLIGHTS_EVERY     milliseconds between two announcements; 3000 by default
//   FLIGHTS_MINUTES   minutes until the goodbye; 2 by default
//   FLIGHTS_SECONDS   the same in seconds, for the impatient

const http = require("http");
const { Server } = require("socket.io");

function setting(name, standard) {
  const text = process.env[name];
  if (text === undefined || text === "") {
    return standard;
  }
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) {
    console.error(`${name} must be a number, not ${JSON.stringify(text)}`);
    process.exit(1);
  }
  return value;
}

const port = setting("PORT", 3210);
const every = setting("FLIGHTS_EVERY", 3000);
const seconds = setting("FLIGHTS_SECONDS", setting("FLIGHTS_MINUTES", 2) * 60);

const airlines = ["Aurora", "Meridian", "Southern Cross", "Transpolar"];
const cities = ["Lisbon", "Nairobi", "Osaka", "Recife", "Tallinn"];
const reasons = ["fog", "a missing crew", "a strike"];
const hotels = ["Grand", "Central", "Harbour"];

let announcements = 0;
let bookings = 0;

// Everything follows from how often it was asked for, so that each run is like the last.
function pick(list, n) {
  return list[n % list.length];
}

function flight(n) {
  return { airline: pick(airlines, n), number: 100 + (n % 900) };
}

const server = http.createServer();
const io = new Server(server);

function announce() {
  const n = announcements;
  announcements += 1;
  if (n % 3 === 2) {
    io.emit("skip", { ...flight(n), reason: pick(reasons, Math.floor(n / 3)) });
  } else {
    const departs = new Date(Date.now() + (n + 1) * 60_000).toISOString();
    io.emit("flight", { ...flight(n), from: pick(cities, n), to: pick(cities, n + 2), departs });
  }
}

function findTickets({ from, to }) {
  const known = cities.includes(from) && cities.includes(to) && from !== to;
  const offers = known ? [0, 1, 2] : [];
  return offers.map((n) => {
    const { airline, number } = flight(n + from.length + to.length);
    return { flight: `${airline} ${number}`, price: 120 + 45 * n };
  });
}

io.on("connection", (socket) => {
  console.log(`${socket.id} came`);
  socket.on("disconnect", (reason) => console.log(`${socket.id} left: ${reason}`));

  // Every second request gets no answer, as from a hotel which does not pick up the telephone.
  socket.on("book_hotel_room", (city, nights, ack) => {
    const n = bookings;
    bookings += 1;
    if (n % 2 === 0 && typeof ack === "function") {
      ack({ hotel: `${pick(hotels, n / 2)} ${city}`, room: 101 + n, price: 80 * nights });
    }
  });

  socket.on("find_tickets", (wish) => socket.emit("tickets", findTickets(wish || {})));

  // Each client has its own time, also one which came late.
  const goodbye = setTimeout(() => socket.emit("goodbye", "the airport closes"), seconds * 1000);
  socket.on("disconnect", () => clearTimeout(goodbye));
});

setInterval(announce, every);

server.listen(port, "127.0.0.1", () => {
  console.log(`the flights server listens on http://127.0.0.1:${server.address().port}`);
});
