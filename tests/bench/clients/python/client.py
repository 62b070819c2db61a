"""python-socketio, its asyncio client: client.py PORT WORKLOAD COUNT SIZE prints what the run has cost."""

import asyncio
import json
import os
import resource
import sys
import time

import socketio

WINDOW = 100
BLOCK = 100
ATTACHMENT = 64 * 1024

port, workload, count, size = sys.argv[1:5]
count, size = int(count), int(size)
batch = 100 if size > 1024 else 1000


def check(ok, what):
    if not ok:
        print(f"python-socketio: {what}", file=sys.stderr, flush=True)
        # A mere exception would end in a log, and the run would not end.
        os._exit(1)


def message(n):
    return {"n": n, "s": "x" * size}


def attachment(n):
    return b"%08d" % n + bytes(size - 8)


async def connect():
    client = socketio.AsyncClient()
    await client.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    return client


class All:
    """Checks what comes; `done` is set when all of it has come."""

    def __init__(self, client, messages, blobs):
        self.wanted = (messages, blobs)
        self.messages, self.blobs = 0, 0
        self.length = ATTACHMENT if workload == "mix" else size
        self.done = asyncio.Event()
        client.on("msg", self.message)
        client.on("bin", self.blob)

    def message(self, data):
        check(data["n"] == self.messages % batch, f"message {self.messages}")
        check(len(data["s"]) == size, f"the length of message {self.messages}")
        self.messages += 1
        self.come()

    def blob(self, data):
        check(len(data) == self.length, f"the length of attachment {self.blobs}")
        check(int(data[:8]) == self.blobs % batch, f"attachment {self.blobs}")
        self.blobs += 1
        self.come()

    def come(self):
        if (self.messages, self.blobs) == self.wanted:
            self.done.set()


async def end(client):
    check(await client.call("end") == count, "not all arrived")


async def stream(client, messages, blobs):
    everything = All(client, messages, blobs)
    await client.emit("start")
    await everything.done.wait()


async def produce(client, name, make):
    chunk = max(1, min(500, 4 * 1024 * 1024 // (size + 64)))
    for n in range(count):
        await client.emit(name, make(n))
        if n % chunk == 0:
            # Lets the task run that writes.
            while not client.eio.queue.empty():
                await asyncio.sleep(0)
    await end(client)


async def ack(client):
    took = []
    for n in range(count):
        begin = time.perf_counter()
        check(await client.call("msg", message(n)) == n, f"the answer to event {n}")
        took.append((time.perf_counter() - begin) * 1e6)
    return took


async def pipe(client):
    numbers = iter(range(count))
    answered = 0

    async def lane():
        nonlocal answered
        for n in numbers:
            check(await client.call("msg", message(n)) == n, f"the answer to event {n}")
            answered += 1

    await asyncio.gather(*(lane() for _ in range(WINDOW)))
    check(answered == count, "not all were answered")


async def mix(client):
    everything = All(client, count, count // BLOCK)
    for first in range(0, count, BLOCK):
        last = first + BLOCK - 1
        for n in range(first, last):
            await client.emit("msg", message(n))
        check(await client.call("msg", message(last)) == last, f"event {last}")
    await everything.done.wait()
    await end(client)


def rss_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def cpu_us():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e6


async def main():
    kept = [await connect()]
    client = kept[0]
    base_kib, wall, used = rss_kib(), time.perf_counter(), cpu_us()
    took = None
    if workload == "conns":
        for n in range(0, count, 50):
            kept += await asyncio.gather(*(connect() for _ in range(min(50, count - n))))
    elif workload == "recv":
        await stream(client, count, 0)
    elif workload == "bin":
        await stream(client, 0, count)
    elif workload == "emit":
        await produce(client, "msg", message)
    elif workload == "binout":
        await produce(client, "bin", attachment)
    elif workload == "ack":
        took = await ack(client)
    elif workload == "pipe":
        await pipe(client)
    elif workload == "mix":
        await mix(client)
    report = {
        "messages": count,
        "cpu_us": cpu_us() - used,
        "wall_us": (time.perf_counter() - wall) * 1e6,
        "base_kib": base_kib,
        "latency_us": None,
    }
    if workload == "conns":
        await asyncio.sleep(1)
    report["rss_kib"] = rss_kib()
    if took:
        took.sort()
        report["latency_us"] = [
            took[min(len(took) - 1, int(share * len(took)))] for share in (0.5, 0.99, 0.999)
        ]
    print(json.dumps(report), flush=True)
    os._exit(0)


asyncio.run(main())
