"""Something of the host to look after: a folder with a canary, a server that notes who comes, this process."""

import os
import socket
import threading
from pathlib import Path
from typing import Self

CANARY = "the canary sings 7c1f"


class Host:
    """What hostile code would like to touch. ``untouched()`` says what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "canary").write_text(CANARY)
        self.visits = 0

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _wait(self) -> None:
        while True:
            try:
                came = self._server.accept()[0]
            except OSError:
                return
            self.visits += 1
            came.close()

    def aimed(self, code: str) -> str:
        """``code`` with the places of this host filled in."""
        for name, value in (("@CAN@", self.folder), ("@PORT@", self.port), ("@PARENT@", os.getpid())):
            code = code.replace(name, str(value))
        return code

    def harm(self) -> list[str]:
        """What was done to it; empty if nothing."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as mine:  # whoever came before it has been counted
            mine.recv(1)
            self.visits -= 1
        found = [f"the server was reached {self.visits} times"] if self.visits else []
        left = sorted(p.name for p in self.folder.iterdir())
        found += [] if left == ["canary"] else [f"the folder holds {left}"]
        canary = self.folder / "canary"
        found += [] if canary.exists() and canary.read_text() == CANARY else ["the canary is gone"]
        return found
