"""A slow line to a server, for tests."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

__all__ = ["slow_reader"]


@contextlib.contextmanager
def slow_reader(server_port: int, pause: float) -> Iterator[tuple[int, list[int]]]:
    """A way to a server that takes a MB at a time. Yields its port, and the bytes of each connection."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)

        def answers(client: socket.socket, server: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while piece := server.recv(2**16):
                    client.sendall(piece)

        def serve(client: socket.socket, number: int) -> None:
            with client, socket.create_connection(("127.0.0.1", server_port)) as server:
                threading.Thread(target=answers, args=(client, server), daemon=True).start()
                with contextlib.suppress(OSError):
                    while piece := client.recv(2**16):
                        server.sendall(piece)
                        before, seen[number] = seen[number], seen[number] + len(piece)
                        time.sleep(pause if before >> 20 != seen[number] >> 20 else 0)

        def accept() -> None:
            with contextlib.suppress(OSError):  # the end
                while True:
                    client, _ = listening.accept()
                    seen.append(0)
                    threading.Thread(target=serve, args=(client, len(seen) - 1), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1], seen
