"""A Socket.IO server in Python for the integration tests, of the kind asked for:

    python server.py aiohttp      python-socketio under aiohttp
    python server.py flask        Flask-SocketIO in threading mode

It prints its port, and runs until its standard input ends, so that no server outlives the test process
which started it.
"""

import os
import sys
import threading

recorded = {}


def watch_stdin():
    sys.stdin.read()
    os._exit(0)


def say(port):
    print(port, flush=True)
    threading.Thread(target=watch_stdin, daemon=True).start()


def record(stream, number):
    recorded.setdefault(stream, []).append(number)


def aiohttp():
    import asyncio

    import socketio
    from aiohttp import web

    # The old one passes coroutines, which Python 3.11 refuses.
    wait = asyncio.wait
    asyncio.wait = lambda tasks, **more: wait([asyncio.ensure_future(task) for task in tasks], **more)

    io = socketio.AsyncServer(async_mode="aiohttp")
    app = web.Application()
    io.attach(app)

    for namespace in ("/", "/foo"):

        @io.on("connect", namespace=namespace)
        async def connect(*_):
            pass

        @io.on("echo", namespace=namespace)
        async def echo(_, *args):
            return args

    @io.on("record")
    async def on_record(_, stream, number):
        record(stream, number)

    @io.on("recorded")
    async def on_recorded(_, stream):
        return recorded.get(stream, [])

    @io.on("burst")
    async def burst(sid, count):
        for number in range(count):
            await io.emit("n", number, room=sid)
        await io.emit("burst_done", count, room=sid)

    @io.on("ask")
    async def ask(sid, *args):
        def answered(*answer):
            asyncio.ensure_future(io.emit("answered", answer, room=sid))

        await io.emit("question", args, room=sid, callback=answered)

    async def main():
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        say(site._server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


def flask():
    from flask import Flask, request
    from flask_socketio import SocketIO
    from werkzeug.serving import make_server

    app = Flask(__name__)
    io = SocketIO(app, async_mode="threading")

    for namespace in ("/", "/foo"):

        @io.on("connect", namespace=namespace)
        def connect(*_):
            pass

        @io.on("echo", namespace=namespace)
        def echo(*args):
            return args

    io.on_event("record", record)
    io.on_event("recorded", lambda stream: recorded.get(stream, []))

    @io.on("burst")
    def burst(count):
        sid = request.sid
        for number in range(count):
            io.emit("n", number, to=sid)
        io.emit("burst_done", count, to=sid)

    @io.on("ask")
    def ask(*args):
        sid = request.sid
        io.emit("question", args, to=sid, callback=lambda *answer: io.emit("answered", answer, to=sid))

    server = make_server("127.0.0.1", 0, app, threaded=True)
    say(server.port)
    server.serve_forever()


{"aiohttp": aiohttp, "flask": flask}[sys.argv[1]]()
