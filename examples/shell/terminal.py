"""Runs a shell in a pseudo terminal, for server.js: Node.js has none of its own.

Standard input and output are those of the terminal. Lines "rows columns" on descriptor 3 set its size.
Arguments: rows, columns, and the command. The exit code is that of the command, or 128 and its signal.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios

PIECE = 32 << 10


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def main():
    rows, columns, *command = sys.argv[1:]
    child, terminal = pty.fork()
    if child == 0:
        # Its own terminal has the size before the command asks for it.
        set_size(0, int(rows), int(columns))
        os.close(3)
        # Python ignores it, and so would the shell.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(command[0], command)
    os.set_blocking(terminal, False)
    sizes = b""
    typed = b""
    sources = {0, 3, terminal}
    while terminal in sources:
        # Input is taken when the terminal has room for it.
        reading = sources - {0} if typed else sources
        readable, writable, _ = select.select(reading, [terminal] if typed else [], [])
        if terminal in writable:
            try:
                typed = typed[os.write(terminal, typed):]
            except BlockingIOError:
                pass
        if terminal in readable:
            try:
                data = os.read(terminal, PIECE)
            except OSError:
                # Linux says so when nobody can write any more.
                data = b""
            if data:
                # This waits while the server does not read.
                write_all(1, data)
            else:
                sources.remove(terminal)
        if 0 in readable:
            typed = os.read(0, PIECE)
            if not typed:
                # The server has ended, or has had enough: the terminal goes, and with it the shell.
                os.close(terminal)
                break
        if 3 in readable:
            data = os.read(3, PIECE)
            if not data:
                sources.remove(3)
            *lines, sizes = (sizes + data).split(b"\n")
            for line in lines:
                set_size(terminal, *map(int, line.split()))
    os.close(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(code if code >= 0 else 128 - code)


try:
    main()
except BrokenPipeError:
    # Nobody reads the output any more.
    sys.exit(1)
