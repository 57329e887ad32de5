"""Runs the C++ federation as real processes and compares its adapter with that of the Rust simulation, byte by byte.

`test.py SERVER_AND_CLIENT_FOLDER REFERENCE_PROGRAM`; standard library alone. One run as it should be, one with a client that is
killed in the middle of two rounds and started again, one with strangers at the port, one with another seed, whose adapter must be another
one; and two that the server survives: one with a client whose messages are damaged on the way, one with a client that stays silent.
"""

import queue
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

EXAMPLES = Path(__file__).resolve().parent.parent
MODEL = EXAMPLES / "models/embedded"
CLIENTS = 4
ROUNDS = 3
PATIENCE = 120.0  # seconds for one step; a run takes two


class Program:
    """A process whose lines can be waited for."""

    def __init__(self, *command: object) -> None:
        self.name = Path(str(command[0])).name
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.seen: list[str] = []
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=[self.process.stdout], daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def until(self, part: str) -> str:
        """The next line with this in it."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{self.name}: expected a line with `{part}`, got {self.seen}")
            self.seen.append(line)
            if part in line:
                return line

    def finish(self) -> None:
        """Waits for its end, which must be a good one."""
        code = self.process.wait(timeout=PATIENCE)
        while (line := self.lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)
        assert code == 0, f"{self.name}: ended with {code}: {self.seen}"

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE)
        while (line := self.lines.get(timeout=PATIENCE)) is not None:
            self.seen.append(line)


class Federation:
    """A server and its clients in a folder; ends what it started."""

    def __init__(self, programs: Path, folder: Path, seed: int, *server: object) -> None:
        self.programs, self.folder = programs, folder
        self.options = ["--model", MODEL, "--clients", CLIENTS, "--rounds", ROUNDS, "--seed", seed]
        self.started: list[Program] = []
        folder.mkdir()
        self.server = self.start("edge-server", "--out", folder / "adapter", "--port", 0, *server)
        self.port = int(self.server.until("listening on port").split()[-1])

    def start(self, program: str, *options: object) -> Program:
        started = Program(self.programs / program, *self.options, *options)
        self.started.append(started)
        return started

    def client(self, number: int, port: int | None = None) -> Program:
        memory = self.folder / f"client-{number}"
        return self.start("edge-client", "--port", port or self.port, "--number", number, "--memory", memory)

    def __enter__(self) -> "Federation":
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.started:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()


def undisturbed(programs: Path, folder: Path, seed: int) -> Path:
    """Every process lives from the first round to the last."""
    with Federation(programs, folder, seed) as federation:
        clients = [federation.client(number) for number in range(CLIENTS)]
        federation.server.finish()
        for client in clients:
            client.finish()
    return folder / "adapter"


def with_kills(programs: Path, folder: Path, seed: int) -> Path:
    """Client 2 is killed twice: between its summary and its update, and once it has trained."""
    victim = 2
    with Federation(programs, folder, seed) as federation:
        # Client 0 is not there yet, so that the server cannot select and the victim is sure to wait for its order.
        others = [federation.client(number) for number in range(1, CLIENTS) if number != victim]
        killed = federation.client(victim)
        killed.until("sent its summary")
        killed.kill()
        assert not any("trained" in line for line in killed.seen), killed.seen
        federation.server.until(f"client {victim} is gone")
        others.append(federation.client(0))
        federation.server.until("records of")
        second = federation.client(victim)
        second.until("goes on from")
        # Now it dies with its update on its disk; whether the update went out is left to chance.
        second.until("round 1: trained on")
        second.kill()
        assert not any("round 2" in line for line in second.seen), second.seen
        third = federation.client(victim)
        third.until("goes on from")
        federation.server.finish()
        for client in [*others, third]:
            client.finish()
        assert not any("round 1: trained on" in line for line in third.seen), "it trained a second time"
    return folder / "adapter"


def said(port: int, *frames: bytes) -> socket.socket:
    """A connection on which these bytes were sent."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"".join(frames))
    return connection


def hello(number: int) -> bytes:
    """What a client says first."""
    return (4).to_bytes(4, "big") + number.to_bytes(4, "big")


def with_strangers(programs: Path, folder: Path, seed: int) -> Path:
    """Connections that say nothing, something long, no client's number, or one that a client has: they change nothing."""
    with Federation(programs, folder, seed) as federation:
        clients = [federation.client(number) for number in range(1, CLIENTS)]
        for _ in clients:
            federation.server.until("is here")
        open_still = [said(federation.port) for _ in range(80)]
        open_still += [said(federation.port, frame) for frame in (b"\xff" * 8, hello(99), b"\0\0\0\4", b"\0\0\0\0")]
        open_still.append(said(federation.port, hello(1), b"\0\0\0\3FH\2"))
        federation.server.until("client 1 is here already")
        clients.append(federation.client(0))
        federation.server.finish()
        for client in clients:
            client.finish()
        for connection in open_still:
            connection.close()
        assert '"left_out":{}' in next(line for line in federation.server.seen if "left_out" in line)
    return folder / "adapter"


def with_silence(programs: Path, folder: Path, seed: int) -> Path:
    """Client 3 says its number and nothing more: after a while the rounds go on without it."""
    silent = CLIENTS - 1
    with Federation(programs, folder, seed, "--wait", 20) as federation:
        connection = said(federation.port, hello(silent))
        clients = [federation.client(number) for number in range(silent)]
        federation.server.finish()
        for client in clients:
            client.finish()
        connection.close()
        reports = [line for line in federation.server.seen if '"left_out"' in line]
        assert len(reports) == ROUNDS and all(f'"left_out":{{"{silent}":' in line for line in reports), reports
    return folder / "adapter"


class Damage:
    """A way to the server on which some messages of one client are damaged: the first summary, and the first update after it."""

    SUMMARY, UPDATE = 2, 5  # the fourth byte of a message

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.open = {self.SUMMARY, self.UPDATE}
        threading.Thread(target=self._run, args=[port], daemon=True).start()

    def _run(self, port: int) -> None:
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", port))
        threading.Thread(target=self._forward, args=[server, client, False], daemon=True).start()
        self._forward(client, server, True)

    def _forward(self, source: socket.socket, to: socket.socket, spoil: bool) -> None:
        stream = source.makefile("rb")
        while len(length := stream.read(4)) == 4:
            frame = bytearray(stream.read(int.from_bytes(length, "big")))
            if spoil and len(frame) > 4 and frame[3] in self.open:
                self.open.remove(frame[3])
                del frame[-1]
            to.sendall(len(frame).to_bytes(4, "big") + frame)
        to.shutdown(socket.SHUT_WR)


def with_damage(programs: Path, folder: Path, seed: int) -> Path:
    """Client 1 sends a summary and, a round later, an update that nobody can read: it is left out of these rounds alone."""
    victim = 1
    with Federation(programs, folder, seed) as federation:
        damage = Damage(federation.port)
        clients = [federation.client(number, damage.port if number == victim else None) for number in range(CLIENTS)]
        federation.server.finish()
        for client in clients:
            client.finish()
        left_out = [line for line in federation.server.seen if f"client {victim} is left out of the round" in line]
        assert len(left_out) == 2 and not damage.open, federation.server.seen
        reports = [line for line in federation.server.seen if '"left_out"' in line]
        told = [f'"left_out":{{"{victim}":' in line for line in reports]
        assert told == [True, True, False], reports
    return folder / "adapter"


def adapter(folder: Path) -> dict[str, bytes]:
    """The bytes of PEFT's files."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def main(programs: Path, reference: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = {}
        for seed in (3, 4):
            command = [reference, "--model", MODEL, "--clients", CLIENTS, "--rounds", ROUNDS, "--seed", seed]
            subprocess.run([str(p) for p in [*command, "--out", folder / f"rust-{seed}"]], check=True, timeout=PATIENCE)
            expected[seed] = adapter(folder / f"rust-{seed}")
        assert set(expected[3]) == {"adapter_config.json", "adapter_model.safetensors"}
        assert expected[3]["adapter_model.safetensors"] != expected[4]["adapter_model.safetensors"]
        for seed in (3, 4):
            assert adapter(undisturbed(programs, folder / f"cpp-{seed}", seed)) == expected[seed], f"seed {seed}"
            print(f"seed {seed}: the adapter of {1 + CLIENTS} C++ processes is the simulation's, bit for bit")
        assert adapter(with_kills(programs, folder / "killed", 3)) == expected[3]
        print("seed 3: a client killed in two rounds and started again changes nothing")
        assert adapter(with_strangers(programs, folder / "strangers", 3)) == expected[3]
        print("seed 3: strangers at the port, one with the number of a client, change nothing")
        assert adapter(with_silence(programs, folder / "silent", 3)) != expected[3]
        print("seed 3: a client that stays silent is left out, and the others go on")
        assert adapter(with_damage(programs, folder / "damaged", 3)) != expected[3]
        print("seed 3: a client whose messages are damaged in two rounds is left out of these, and the others go on")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: test.py SERVER_AND_CLIENT_FOLDER REFERENCE_PROGRAM")
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
