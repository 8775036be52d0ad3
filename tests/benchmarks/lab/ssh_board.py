"""A board for tests: an SSH server with a home folder of its own, whose commands run on this machine.

    python ssh_board.py HOME PORT DIES_AT

PORT 0 is any free one. Writes ``HOME/port`` when it listens, and each command into ``HOME/commands``. At a
command with the word DIES_AT it dies like a board without power: command and connections end at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import asyncssh

HOME, PORT, DIES_AT = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Server(asyncssh.SSHServer):
    """Lets in who has the key."""

    def begin_auth(self, username: str) -> bool:
        return True


async def answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run one command in the home folder."""
    command = process.command or ""
    with (HOME / "commands").open("a") as log:
        log.write(command + "\n")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(
        command,
        cwd=HOME,
        env={"HOME": str(HOME), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        start_new_session=True,
    )
    if DIES_AT and DIES_AT in command.split():
        await asyncio.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        os._exit(1)
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    code = await child.wait()
    await process.stdout.drain()
    await process.stderr.drain()
    process.exit(code)


async def main() -> None:
    """Serve until killed."""
    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        PORT,
        server_host_keys=[str(HOME.parent / "host_key")],
        authorized_client_keys=str(HOME.parent / "user_key.pub"),
        process_factory=answer,
        encoding=None,
    )
    (HOME / "port.new").write_text(str(server.sockets[0].getsockname()[1]))
    (HOME / "port.new").rename(HOME / "port")
    await server.wait_closed()


asyncio.run(main())
