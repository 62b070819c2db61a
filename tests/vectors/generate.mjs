// Writes packets.json: what the official Socket.IO parsers encode, decode and reject.
//
//     npm ci && npm run generate
//
// A vector of `packets` is checked here in both directions: the official encoder made its text and the official
// decoder read it back (but see add2x). A vector of `malformed` states what the official decoder did (`official`) and what ours must
// do (`ours`), which is stricter in places: our result is written down by hand below, never computed.
//
// Buffers are {"$bin":hex} in data, plain hex in `attachments`, and {"bin":hex} as a frame of `malformed`.
//
// How to read `malformed`: give the frames to a fresh decoder one by one and stop at the first error. "accepts" means
// that the last frame completed a packet, and `packet` is that packet.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import * as parser5 from "socket.io-parser-v5";
import parser4 from "socket.io-parser-v4";

const PARSERS = { 5: parser5, 4: parser4 };
const WIRE_TYPES = ["connect", "disconnect", "event", "ack", "connect_error", "event", "ack"];
const BINARY_TYPES = { event: 5, ack: 6 };

const bin = (hex) => Buffer.from(hex, "hex");
const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;
const nested = (depth) => "[".repeat(depth) + "]".repeat(depth);

// ---------------------------------------------------------------------------------------------------------------
// Valid packets

const valid = [];

/// `options` may hold nsp, id, revisions and the special cases of add2x().
function add(note, type, data, { nsp = "/", revisions = [5, 4], ...options } = {}) {
  for (const revision of revisions) valid.push({ revision, note, type, nsp, data, ...options });
}
const event = (note, data, options) => add(note, "event", data, options);
const ack = (note, id, data, options) => add(note, "ack", data, { id, ...options });
const only5 = { revisions: [5] };
const only4 = { revisions: [4] };

// CONNECT: a payload exists since revision 5; before, custom data travelled in the query of the namespace.
add("connect to the root", "connect");
add("connect to a namespace", "connect", undefined, { nsp: "/admin" });
add("connect to a unicode namespace", "connect", undefined, { nsp: "/größe/日本/😀" });
add("connect with a query in the namespace", "connect", undefined, { nsp: "/admin?token=abc&x=1" });
add("connect with an escaped query in the namespace", "connect", undefined, { nsp: "/foo?a=%2C%20b&c=" });
add("connect with credentials", "connect", { token: "x" }, only5);
add("connect with an empty object", "connect", {}, only5);
add("connect with credentials to a namespace", "connect", { token: "x" }, { nsp: "/admin", ...only5 });
add("connect asking for recovery with credentials", "connect", { pid: "p", offset: "o", token: "x" }, { nsp: "/admin", ...only5 });
add("connect with unicode credentials", "connect", { "ключ": "значение 😀" }, only5);
add("connect reply", "connect", { sid: "lv_VI97HAXpY6yYWAAAC" }, only5);
add("connect reply with recovery", "connect", { sid: "lv_VI97HAXpY6yYWAAAC", pid: "GJBuWYCZ0lYAAAAB" }, { nsp: "/admin", ...only5 });

add("disconnect from the root", "disconnect");
add("disconnect from a namespace", "disconnect", undefined, { nsp: "/admin" });

add("connect error with a message", "connect_error", { message: "Invalid namespace" }, { nsp: "/nope" });
add("connect error with message and data", "connect_error", { message: "denied", data: { code: 42 } });
add("connect error with an empty object", "connect_error", {});
add("connect error with unicode", "connect_error", { message: "нет, \"нельзя\" 🚫" });
add("connect error as a string", "connect_error", "Unauthorized");
add("connect error as a string on a namespace", "connect_error", "Invalid namespace", { nsp: "/nope" });
add("connect error without payload", "connect_error");
add("error as the data of the middleware", "connect_error", { code: 42 }, only4);
add("error as an array", "connect_error", ["denied", 42, null], only4);
add("error as an array on a namespace", "connect_error", [], { nsp: "/nope", ...only4 });
add("error of a 2.x server that could not encode", "connect_error", "encode error", only4);

// Envelope of events and acks.
event("event", ["foo"]);
event("event with arguments", ["foo", 1, "two", [3], { four: 4 }]);
event("event with ack id 0", ["foo"], { id: 0 });
event("event with ack id on a namespace", ["foo", 1], { nsp: "/admin", id: 12 });
event("event with the largest ack id", ["foo"], { id: 9007199254740991 });
event("event on a namespace", ["foo"], { nsp: "/admin" });
event("namespace with digits", ["foo"], { nsp: "/123", id: 45 });
event("namespace with dashes", ["foo"], { nsp: "/1-2-3" });
event("namespace with dots", ["foo"], { nsp: "/v1.2.3", id: 7 });
event("namespace with a query", ["foo"], { nsp: "/admin?token=abc&x=1", id: 7 });
event("namespace with unicode", ["foo"], { nsp: "/größe/日本/😀", id: 7 });
event("namespace with brackets and quotes", ["foo"], { nsp: "/[\"a\"]{}", id: 7 });
event("namespace with spaces", ["foo"], { nsp: "/a b " });
event("namespace of 512 bytes", ["foo"], { nsp: "/" + "n".repeat(511) });
ack("ack without arguments", 0, []);
ack("ack", 13, ["bar"]);
ack("ack on a namespace", 13, ["bar", 1], { nsp: "/admin" });
ack("ack with the largest id", 9007199254740991, []);
ack("ack with a reserved name", 1, ["connect"]);

// Names.
for (const name of ["error", "close", "open", "message", "ping", "Connect", "toString", "__proto__"]) {
  event(`event named ${name}`, [name, 1]);
}
event("event with an empty name", [""]);
event("event with a unicode name", ["événement", "ü"]);
event("event with an emoji name", ["👩‍👩‍👧 family", "🦀"]);
event("event with quotes and backslashes in the name", ["say \"hi\" \\ there"]);
event("event with commas and brackets in the name", ["a,b],[c{}"]);
event("event with digits in the name", ["123-456"]);
event("event with an integer name", [1, "a"]);

// Strings.
event("control characters", ["s", "\u0000\u0001\b\t\n\u000b\f\r\u001f\u007f"]);
event("line separators", ["s", "a\u2028b\u2029c\u0085d"]);
event("multi-byte characters", ["s", "é€漢字עברית😀𝄞"]);
event("noncharacters and byte order mark", ["s", "\ufeff\ufffd\uffff\u{10ffff}"]);
event("string that looks like an escape", ["s", "\\u0041\\n\\\\"]);
event("string that looks like JSON", ["s", "[\"a\",{\"b\":1}]", "}", "]", ",", "\""]);
event("string that looks like a packet", ["s", "51-[\"x\",{\"_placeholder\":true,\"num\":0}]"]);
event("unicode keys", ["s", { "é": 1, "": 2, "a b": 3, "\"": 4, "😀": 5, "\u0000": 6 }]);
event("keys in an order that is not sorted", ["s", { b: 1, a: { d: 1, c: 2 } }]);
event("key named __proto__", ["s", JSON.parse('{"__proto__":{"a":1}}')]);

// Values. A JavaScript number prints at most 17 significant digits, so the 64-bit edges come out rounded.
event("null, booleans and empty values", ["v", null, true, false, "", [], {}, [[]], [{}]]);
event("nested values", ["v", { a: { b: { c: [1, { d: null }] } } }]);
event("small numbers", ["v", 0, 1, -1]);
event("32-bit edges", ["v", 2147483647, -2147483648, 4294967295, 4294967296]);
event("edges of the safe integers", ["v", 9007199254740991, -9007199254740991, 9007199254740992]);
event("edges of i64 and u64 as floats", ["v", 2 ** 63, -(2 ** 63), 2 ** 64]);
event("edges of f64", ["v", Number.MAX_VALUE, -Number.MAX_VALUE, Number.MIN_VALUE, Number.EPSILON, 2.2250738585072014e-308]);
event("fractions", ["v", 0.1, -1.5, 1e-7, 1e21, 123456789.123456789]);
event("nested arrays, 100 deep", ["v", JSON.parse(nested(100))]);
event("buffer in the form of its toJSON", ["v", { type: "Buffer", data: [1, 2] }]);
event("placeholder in an event without attachments", ["v", { _placeholder: true, num: 0 }]);
ack("placeholder in an ack without attachments", 3, [{ _placeholder: true, num: 7 }]);

// Attachments.
event("one attachment", ["b", bin("010203")]);
event("attachment with ack id on a namespace", ["baz", bin("0102"), { x: [bin("0304")] }, bin("")], { nsp: "/admin", id: 7 });
event("attachment on a namespace with digits and dashes", ["b", bin("01")], { nsp: "/1-2", id: 3 });
event("two attachments", ["b", bin("01"), bin("02")]);
event("ten attachments", ["b", ...Array.from({ length: 10 }, (_, index) => Buffer.from([index]))]);
event("empty attachment", ["b", bin("")]);
event("all byte values", ["b", Buffer.from(Array.from({ length: 256 }, (_, index) => index))]);
const shared = bin("cafe");
event("the same buffer twice", ["b", shared, shared]);
event("attachment in an object", ["b", { file: bin("01"), name: "x" }]);
event("attachment deep in objects and arrays", ["b", { a: [{ b: [[bin("01")]] }] }]);
event("attachments in an order that is not sorted by key", ["b", { z: bin("01"), a: bin("02"), m: [bin("03")] }]);
event("nulls beside attachments", ["b", null, bin("01"), null, [null, bin("02")], { a: null }]);
event("text around attachments", ["b", "before", bin("01"), "між 😀", bin("02"), "after"]);
event("string that looks like a placeholder beside an attachment", ["b", placeholder(0), bin("01")]);
event("object that is nearly a placeholder beside an attachment", ["b", { _placeholder: "true", num: 5 }, { _placeholder: 1 }, { num: 9 }, bin("01")]);
event("attachment in an event with an integer name", [7, bin("01")]);
ack("attachment in an ack", 15, [bin("09")]);
ack("attachments in an ack on a namespace", 8, [null, { data: bin("0a"), list: [bin("0b"), 1] }], { nsp: "/admin" });

// socket.io 2.x has a .binary(true) override that makes a binary event without any attachment. Its patched encoder
// still writes it although its patched decoder refuses it; nobody else would, hence `decode_only`.
const add2x = (note, data, options) =>
  event(note, data, { ...only4, ...options, forceBinary: true, refused: "Illegal attachments" });
add2x("binary event without attachments", ["x"]);
add2x("binary event without attachments, with id on a namespace", ["x", { a: null }], { nsp: "/admin", id: 3 });

// ---------------------------------------------------------------------------------------------------------------
// Frames that are refused, or that only one of the two decoders accepts

const malformed = [];

/// Our decoder must fail with `ours`.
const rejects = (ours, note, ...frames) => malformed.push({ note, frames, ours });

/// Our decoder must yield `packet`; its data is JSON text, so that numbers beyond the range of JavaScript survive.
const accepts = (note, frames, packet) => malformed.push({ note, frames: [frames].flat(), ours: "accepts", packet });

/// The same, where the official decoder accepts the frames too but yields something else.
const differs = (note, frames, packet) => malformed.push({ note, frames: [frames].flat(), ours: "accepts", packet, differs: true });

// Type.
rejects("Empty", "empty text", "");
for (const text of ["7", '9["a"]', "a", '["a"]', '-2["a"]', "/admin,", "😀", '２["a"]']) {
  rejects("UnknownType", `unknown type ${JSON.stringify(text)}`, text);
}
rejects("UnknownType", "space before the type", ' 2["a"]');
rejects("UnknownType", "byte order mark before the type", '\ufeff2["a"]');

// Attachment count.
const one = [`["x",${placeholder(0)}]`, bin("01")];
rejects("Attachments", "binary event: type only", "5");
rejects("Attachments", "binary event without count", '5["x"]');
rejects("Attachments", "binary ack without count", '61["x"]');
rejects("Attachments", "binary event: count without dash", "51");
rejects("Attachments", "binary event: namespace before the count", '5/admin,1-["x"]');
for (const count of ["", "-1", "+1", " 1", "1 ", "1.0", "1.5", "1e0", "0x1", "1_0", "a", "Infinity", "１"]) {
  rejects("Attachments", `attachment count ${JSON.stringify(count)}`, `5${count}-${one[0]}`, one[1]);
}
rejects("Attachments", "attachment count 1e1", `51e1-["x"]`, ...Array(10).fill(bin("01")));
rejects("Attachments", "attachment count of 11 digits", `500000000001-${one[0]}`, one[1]);
rejects("Attachments", "attachment count in a binary ack with a sign", `6+1-1[${placeholder(0)}]`, bin("01"));
rejects("TooManyAttachments", "11 attachments", '511-["x"]');
rejects("TooManyAttachments", "11 attachments in an ack", "611-1[]");
rejects("TooManyAttachments", "11 attachments with leading zeros", '50000000011-["x"]');
rejects("TooManyAttachments", "257 attachments: not 1", '5257-["x"]');
rejects("TooManyAttachments", "2^32 + 1 attachments: not 1", '54294967297-["x"]');
rejects("TooManyAttachments", "attachment count of 10 nines", '59999999999-["x"]');
accepts("attachment count with leading zeros", [`501-${one[0]}`, one[1]], { type: "event", data: '["x",{"$bin":"01"}]' });
accepts("attachment count of 10 digits", [`50000000001-${one[0]}`, one[1]], { type: "event", data: '["x",{"$bin":"01"}]' });

// No attachments: complete at once, and the next frame finds a clean decoder.
accepts("binary event without attachments", '50-["x"]', { type: "event", data: '["x"]' });
accepts("binary event without attachments on a namespace", '50-/admin,7["x"]', { type: "event", nsp: "/admin", id: 7, data: '["x"]' });
accepts("binary ack without attachments", "60-1[]", { type: "ack", id: 1, data: "[]" });
accepts("no attachments: placeholders are data", `50-["x",${placeholder(0)}]`, { type: "event", data: `["x",${placeholder(0)}]` });
accepts("no attachments, then an event", ['50-["x"]', '2["y"]'], { type: "event", data: '["y"]' });
rejects("UnexpectedBinary", "no attachments, then a binary frame", '50-["x"]', bin("01"));
rejects("Payload", "binary event without attachments or payload", "50-");
accepts("binary event without attachments, reserved name", '50-["connect"]', { type: "event", data: '["connect"]' });
accepts("binary ack without attachments or id", "60-[]");

// Namespace.
const long = "/" + "n".repeat(511);
accepts("namespace at the end", "0/admin", { type: "connect", nsp: "/admin" });
accepts("disconnect, namespace at the end", "1/admin", { type: "disconnect", nsp: "/admin" });
accepts("query at the end", "0/a?x=1", { type: "connect", nsp: "/a?x=1" });
accepts("root namespace written out", '2/,1["a"]', { type: "event", id: 1, data: '["a"]' });
accepts("root namespace at the end", "0/", { type: "connect" });
accepts("payload without comma belongs to the namespace", '0/admin{"a":1}', { type: "connect", nsp: '/admin{"a":1}' });
accepts("namespace of 512 bytes at the end", `0${long}`, { type: "connect", nsp: long });
rejects("Namespace", "namespace of 513 bytes", `2${long}n,["a"]`);
rejects("Namespace", "namespace of 513 bytes at the end", `0${long}n`);
rejects("Namespace", "namespace of 257 characters in 513 bytes", `2/${"é".repeat(256)},["a"]`);
rejects("Namespace", "namespace of 513 bytes with attachments", `51-${long}n,["a",${placeholder(0)}]`, bin("01"));
rejects("Payload", "event: namespace at the end", "2/admin");
rejects("Payload", "event: namespace without payload", "2/admin,");
rejects("Payload", "event: payload without comma belongs to the namespace", '2/admin["a"]');
rejects("Json", "namespace without slash", "0admin");
rejects("Json", "comma without namespace", "0,");
rejects("Json", "event: comma without namespace", '2,["a"]');
rejects("Json", "namespace cut at the comma of the payload", '0/admin{"a":1,"b":2}');
rejects("Json", "namespace after the id", '212/admin,["a"]');

// Id.
accepts("id with leading zeros", '2007["a"]', { type: "event", id: 7, data: '["a"]' });
accepts("id of 16 digits with leading zeros", '20000000000000007["a"]', { type: "event", id: 7, data: '["a"]' });
accepts("ack id with leading zeros", "3001[]", { type: "ack", id: 1, data: "[]" });
accepts("space after the id", '21 ["a"]', { type: "event", id: 1, data: '["a"]' });
differs("space instead of an id", '2 ["a"]', { type: "event", data: '["a"]' });
differs("space after the namespace", '2/admin, ["a"]', { type: "event", nsp: "/admin", data: '["a"]' });
accepts("id 2^53", '29007199254740992["a"]', { type: "event", id: 2 ** 53, data: '["a"]' });
accepts("id 2^53 on a namespace", '2/admin,9007199254740992["a"]', { type: "event", nsp: "/admin", id: 2 ** 53, data: '["a"]' });
accepts("id of 17 digits with leading zeros", '200000000000000007["a"]', { type: "event", id: 7, data: '["a"]' });
accepts("ack id 2^53", "39007199254740992[]", { type: "ack", id: 2 ** 53, data: "[]" });
accepts("ack id 2^53 with attachments", [`61-9007199254740992[${placeholder(0)}]`, bin("01")], { type: "ack", id: 2 ** 53, data: '[{"$bin":"01"}]' });
// Of these, the official decoder makes floats, or no id: no packet to compare with.
accepts("id 2^64: not 0", '218446744073709551616["a"]');
accepts("id 10^20", '2100000000000000000000["a"]');
accepts("id of 400 digits", `2${"9".repeat(400)}["a"]`);
accepts("ack: type only", "3");
accepts("ack without id", '3["a"]');
accepts("ack without id on a namespace", '3/admin,["a"]');
accepts("binary ack without id", [`61-[${placeholder(0)}]`, bin("01")]);
for (const id of ["-1", "+1", "1.5", "1e3", "0x1", "11-", " 1", "1 2", "\u00a0", "１"]) {
  rejects("Json", `id ${JSON.stringify(id)}`, `2${id}["a"]`);
}
rejects("Json", "ack id with an exponent", "31e3[]");

// Payload of events.
rejects("Payload", "event without payload", "2");
rejects("Payload", "event with id without payload", "212");
rejects("Payload", "event: empty array", "2[]");
rejects("Payload", "event: empty array with id", "212[]");
for (const payload of ["{}", "null", "true", '"a"', "[null]", "[true]", '[["a"]]', '[{"a":1}]', `[${placeholder(0)}]`]) {
  rejects("Payload", `event: ${payload}`, `2${payload}`);
}
rejects("Payload", "event with attachments without payload", "51-", bin("01"));
rejects("Payload", "event with attachments: id without payload", "51-7", bin("01"));
rejects("Payload", "event with attachments: empty array", "51-[]", bin("01"));
rejects("Payload", "event with attachments: placeholder instead of a name", `51-[${placeholder(0)},"a"]`, bin("01"));
accepts("integer event name", "2[1,2]", { type: "event", data: "[1,2]" });
accepts("fractional event name", "2[1.5]", { type: "event", data: "[1.5]" });

// Payload of acks.
differs("ack with id without payload", "312", { type: "ack", id: 12, data: "[]" });
for (const payload of ["{}", "null", "true", '"a"']) {
  rejects("Payload", `ack: ${payload}`, `312${payload}`);
}
differs("binary ack without payload", ["61-1", bin("01")], { type: "ack", id: 1, data: "[]" });
rejects("Payload", "binary ack: object", `61-1${placeholder(0)}`, bin("01"));

// Payload of connect, disconnect and connect error: these have no id, so that digits are payload.
differs("connect: null", "0null", { type: "connect" });
for (const payload of ["[]", '"x"', "true", "1", "-1"]) {
  rejects("Payload", `connect: ${payload}`, `0${payload}`);
}
rejects("Payload", "connect on a namespace: number", "0/admin,1");
rejects("Json", "connect: digits before the object", "07{}");
rejects("Json", "connect: cut object", '0{"a":');
differs("connect: space before the object", '0 {"a":1}', { type: "connect", data: '{"a":1}' });
accepts("query and payload", '0/a?x=1,{"t":1}', { type: "connect", nsp: "/a?x=1", data: '{"t":1}' });
accepts("disconnect with an object", '1{"a":1}', { type: "disconnect" });
accepts("disconnect with a string", '1"bye"', { type: "disconnect" });
accepts("disconnect with a string on a namespace", '1/admin,"bye"', { type: "disconnect", nsp: "/admin" });
differs("disconnect with a number", "11", { type: "disconnect" });
differs("connect error: number, not a disconnect", "41", { type: "connect_error", data: "1" });
differs("connect error: number on a namespace", "4/admin,12", { type: "connect_error", nsp: "/admin", data: "12" });
accepts("connect error: negative number", "4-1", { type: "connect_error", data: "-1" });
accepts("connect error: true", "4true", { type: "connect_error", data: "true" });
accepts("connect error: null", "4null", { type: "connect_error", data: "null" });
accepts("connect error: array", '4["denied"]', { type: "connect_error", data: '["denied"]' });
rejects("Json", "connect error: number with leading zeros", "4007");
rejects("Json", "connect error: number before a string", '41"x"');
rejects("Json", "connect error: word", "4denied");
rejects("Json", "connect error: cut string", '4"x');

// Reserved names. They mean nothing to us in what is received: an event is an event.
for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
  accepts(`event named ${name}`, `2["${name}"]`, { type: "event", data: `["${name}"]` });
}
accepts("reserved name with attachments", [`51-["connect",${placeholder(0)}]`, bin("01")], { type: "event", data: '["connect",{"$bin":"01"}]' });
accepts("reserved name written with an escape", '2["\\u0063onnect"]', { type: "event", data: '["connect"]' });
accepts("reserved name after white space", '2[ "connect" ]', { type: "event", data: '["connect"]' });
accepts("reserved name as an argument", '2["a","connect"]', { type: "event", data: '["a","connect"]' });
accepts("reserved name with a space", '2["connect "]', { type: "event", data: '["connect "]' });

// JSON.
for (const payload of [
  '["a"', '["a', "]", '["a",]', '["a" "b"]', '["a"]]', '["a"]x', '["a"],["b"]', '["a"]\u0000', '["a"]/**/', "['a']", "[a]", "undefined",
  '["a",NaN]', '["a",01]', '["a",+1]', '["a",.5]', '["a",1.]', '["a",{b:1}]', '["a",{"b":1,}]', '["a\nb"]', '["\\x41"]', '["\\u12g4"]', '["a",\u00a01]',
]) {
  rejects("Json", `JSON ${JSON.stringify(payload)}`, `2${payload}`);
}
rejects("Json", "JSON of an ack cut", '31["a"');
rejects("Json", "garbage after the JSON of an ack", "31[]x");
rejects("Json", "JSON of an event with attachments cut", `51-["x",${placeholder(0)}`, bin("01"));
rejects("Json", "garbage after the JSON of an event with attachments", `51-${one[0]}x`, one[1]);
accepts("white space after the JSON", '2["a"] \r\n\t', { type: "event", data: '["a"]' });
accepts("white space inside the JSON", '2[ "a" ,\t{ "b" :\n1 } ]', { type: "event", data: '["a",{"b":1}]' });
accepts("escapes in the name", '2["\\u0061\\/\\ud83d\\ude00"]', { type: "event", data: '["a/😀"]' });
accepts("64-bit edges", '2["a",9223372036854775807,-9223372036854775808,18446744073709551615]', {
  type: "event",
  data: '["a",9223372036854775807,-9223372036854775808,18446744073709551615]',
});
accepts("numbers with exponents", '2["a",1E2,1e+2,-1e-2]', { type: "event", data: '["a",100,100,-0.01]' });
accepts("separators and DEL need no escape", '2["a","\u2028\u2029\u0085\u007f"]', { type: "event", data: '["a","\u2028\u2029\u0085\u007f"]' });
// A JSON library may be unable to read these back from packets.json: no packet to compare with.
accepts("lone high surrogate", '2["a","\\ud800"]');
accepts("lone low surrogate", '2["a","\\udc00x"]');
accepts("lone surrogate in a key", '2["a",{"\\ud800":1}]');
accepts("number beyond f64", '2["a",1e400,-1e400]');
accepts("integer of 400 digits", `2["a",${"9".repeat(400)}]`);
accepts("arrays nested 200 deep", `2["a",${nested(200)}]`);
accepts("objects nested 200 deep", `2["a",${'{"a":'.repeat(200)}1${"}".repeat(200)}]`);
accepts("arrays nested 200 deep around an attachment", [`51-["a",${"[".repeat(200)}${placeholder(0)}${"]".repeat(200)}]`, bin("01")]);

// Frames out of order.
rejects("UnexpectedBinary", "binary frame first", bin("01"));
rejects("UnexpectedBinary", "empty binary frame first", bin(""));
rejects("UnexpectedBinary", "binary frame after an event", '2["a"]', bin("01"));
rejects("UnexpectedBinary", "binary frame after an event with a placeholder", `2["a",${placeholder(0)}]`, bin("01"));
rejects("UnexpectedBinary", "one binary frame too many", `51-${one[0]}`, one[1], bin("02"));
rejects("UnexpectedText", "event instead of an attachment", `51-${one[0]}`, '2["a"]');
rejects("UnexpectedText", "disconnect instead of an attachment", `51-${one[0]}`, "1");
rejects("UnexpectedText", "event instead of the second attachment", `52-["x",${placeholder(0)},${placeholder(1)}]`, bin("01"), '2["a"]');
rejects("UnexpectedText", "event instead of an attachment of an ack", `61-1[${placeholder(0)}]`, '2["a"]');
accepts("event after a complete binary event", [`51-${one[0]}`, one[1], '2["a"]'], { type: "event", data: '["a"]' });
accepts("binary event after an event", ['2["a"]', `51-${one[0]}`, one[1]], { type: "event", data: '["x",{"$bin":"01"}]' });

// Placeholders.
rejects("Placeholder", "placeholder without num", '51-["x",{"_placeholder":true}]', bin("01"));
for (const num of ["-1", "1", "0.5", "1e400", '"0"', "null", "true", "[0]", "4294967296", "18446744073709551616"]) {
  rejects("Placeholder", `placeholder ${num} of 1`, `51-["x",${placeholder(num)}]`, bin("01"));
}
rejects("Placeholder", "wrong placeholder deep inside", `51-["x",{"a":[{"b":${placeholder(1)}}]}]`, bin("01"));
rejects("Placeholder", "wrong placeholder after a good one", `51-["x",${placeholder(0)},${placeholder(7)}]`, bin("01"));
rejects("Placeholder", "wrong placeholder in an ack", `61-1[${placeholder(1)}]`, bin("01"));
rejects("Placeholder", "num before the flag, wrong", '51-["x",{"num":1,"_placeholder":true}]', bin("01"));
accepts("num before the flag", ['51-["x",{"num":0,"_placeholder":true}]', bin("01")], { type: "event", data: '["x",{"$bin":"01"}]' });
accepts("placeholder with another member", ['51-["x",{"_placeholder":true,"num":0,"a":1}]', bin("01")], {
  type: "event",
  data: '["x",{"$bin":"01"}]',
});
accepts("placeholder with white space", ['51-["x",{ "_placeholder" : true , "num" : 0 }]', bin("01")], {
  type: "event",
  data: '["x",{"$bin":"01"}]',
});
accepts("placeholder with an escape in its key", ['51-["x",{"\\u005fplaceholder":true,"n\\u0075m":0}]', bin("01")], {
  type: "event",
  data: '["x",{"$bin":"01"}]',
});
accepts("placeholder used twice", [`51-["x",${placeholder(0)},${placeholder(0)}]`, bin("01")], {
  type: "event",
  data: '["x",{"$bin":"01"},{"$bin":"01"}]',
});
accepts("placeholders in another order", [`52-["x",${placeholder(1)},${placeholder(0)}]`, bin("01"), bin("02")], {
  type: "event",
  data: '["x",{"$bin":"02"},{"$bin":"01"}]',
});
accepts("fewer placeholders than attachments", [`52-["x",${placeholder(1)}]`, bin("01"), bin("02")], {
  type: "event",
  data: '["x",{"$bin":"02"}]',
});
accepts("attachment without placeholder", ['51-["x"]', bin("01")], { type: "event", data: '["x"]' });
accepts("objects that are no placeholders", ['51-["x",{"_placeholder":false,"num":9},{"_placeholder":"true","num":0},{"_placeholder":1}]', bin("01")], {
  type: "event",
  data: '["x",{"_placeholder":false,"num":9},{"_placeholder":"true","num":0},{"_placeholder":1}]',
});

// ---------------------------------------------------------------------------------------------------------------
// Running the official parsers

function hasBuffer(value) {
  if (Buffer.isBuffer(value)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(hasBuffer);
}

/// The frames of a packet. In revision 4 the socket, not the encoder, tells a binary packet from a plain one.
function encode({ revision, type, nsp, id, data, forceBinary }) {
  const binary = revision === 4 && type in BINARY_TYPES && (forceBinary || hasBuffer(data));
  const packet = { type: binary ? BINARY_TYPES[type] : WIRE_TYPES.indexOf(type), nsp, id, data };
  const encoder = new PARSERS[revision].Encoder();
  if (revision === 5) return encoder.encode(packet);
  let frames;
  encoder.encode(packet, (encoded) => (frames = encoded));
  return frames;
}

/// What a fresh decoder made of the frames: the packet completed by the last frame, if any, and a verdict.
function decode(revision, frames) {
  const decoder = new PARSERS[revision].Decoder();
  let emitted;
  decoder.on("decoded", (packet) => (emitted = packet));
  try {
    for (const frame of frames) {
      emitted = undefined;
      decoder.add(frame);
      // The 2.x parser turns a frame of unknown type into an error packet of its own.
      const synthetic = revision === 4 && emitted?.type === 4 && String(emitted.data).startsWith("parser error");
      if (synthetic) return { official: "error packet" };
    }
  } catch (error) {
    return { official: error.message };
  }
  if (!emitted) return { official: "incomplete" };
  const { type, nsp, id, data } = emitted;
  return { official: "accepts", packet: { type: WIRE_TYPES[type], nsp, id, data } };
}

// ---------------------------------------------------------------------------------------------------------------
// Writing

/// JSON with buffers as {"$bin":hex}. Reads the holder because toJSON has already replaced the buffer itself.
function toJson(value) {
  return JSON.stringify(value, function (key, inner) {
    return Buffer.isBuffer(this[key]) ? { $bin: this[key].toString("hex") } : inner;
  });
}

/// One vector on one line. Invisible characters are escaped: an editor or a diff could take them for line ends.
function line(fields) {
  const members = Object.entries(fields)
    .filter(([, json]) => json !== undefined)
    .map(([key, json]) => `${JSON.stringify(key)}:${json}`);
  return `{${members.join(",")}}`.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}]/gu,
    (char) => Array.from({ length: char.length }, (_, i) => "\\u" + char.charCodeAt(i).toString(16).padStart(4, "0")).join(""),
  );
}

const seen = new Set();
function assertNew(...parts) {
  const key = toJson(parts);
  assert(!seen.has(key), `vector written twice: ${key}`);
  seen.add(key);
}

function writeValid(vector) {
  const { revision, note, type, nsp, id, data, refused } = vector;
  const before = toJson(vector);
  const frames = encode(vector);
  const [text, ...attachments] = frames;
  const decoded = decode(revision, frames);
  if (refused) {
    assert.equal(decoded.official, refused, note);
  } else {
    assert.equal(decoded.official, "accepts", note);
    assert.deepStrictEqual(decoded.packet, { type, nsp, id, data }, note);
  }
  assert.equal(toJson(vector), before, "the encoder changed its input");
  assertNew(revision, "text", text, attachments);
  assertNew(revision, "note", note);
  return line({
    revision,
    note: toJson(note),
    type: toJson(type),
    nsp: toJson(nsp),
    id: toJson(id),
    data: toJson(data),
    text: toJson(text),
    attachments: toJson(attachments.map((buffer) => buffer.toString("hex"))),
    decode_only: refused ? "true" : undefined,
  });
}

/// The official verdict of revision 5; that of revision 4 only where it is another one.
function writeMalformed({ note, frames, ours, packet, differs }) {
  const rows = [];
  const verdicts = new Set();
  for (const revision of [5, 4]) {
    const { official, packet: theirs } = decode(revision, frames);
    if (packet && theirs) {
      const same = toJson(normal(packet)) === toJson({ ...theirs, data: packet.type === "disconnect" ? undefined : theirs.data });
      assert.equal(same, !differs, `${note}: ${toJson(theirs)}`);
    }
    if (verdicts.has(official)) continue;
    verdicts.add(official);
    assertNew(revision, "frames", frames);
    assertNew(revision, "malformed note", note);
    rows.push(
      line({
        revision,
        note: toJson(note),
        frames: toJson(frames.map((frame) => (Buffer.isBuffer(frame) ? { bin: frame.toString("hex") } : frame))),
        official: toJson(official),
        ours: toJson(ours),
        packet: packet && line({ type: toJson(packet.type), nsp: toJson(packet.nsp ?? "/"), id: toJson(packet.id), data: packet.data }),
      }),
    );
  }
  return rows;
}

/// Our packet, written by hand as JSON text, in the shape that decode() returns.
function normal({ type, nsp = "/", id, data }) {
  return { type, nsp, id, data: data && JSON.parse(data) };
}

const installed = (name) => {
  const manifest = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url)));
  return `${manifest.name} ${manifest.version}`;
};

const generatedBy = { 5: installed("socket.io-parser-v5"), 4: installed("socket.io-parser-v4") };
const list = (lines) => `[\n${lines.map((text) => `    ${text}`).join(",\n")}\n  ]`;
// Revision 5 first; the order within a revision is the order above.
const ordered = [5, 4].flatMap((revision) => valid.filter((vector) => vector.revision === revision));

const output = `{
  "generated_by": {"5": ${toJson(generatedBy[5])}, "4": ${toJson(generatedBy[4])}},
  "packets": ${list(ordered.map(writeValid))},
  "malformed": ${list(malformed.flatMap(writeMalformed))}
}
`;
JSON.parse(output);
writeFileSync(new URL("packets.json", import.meta.url), output);
