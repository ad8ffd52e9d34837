"""The client that comes along, against a small server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import Question, ask_once, post


class _Handler(BaseHTTPRequestHandler):
    """/half refuses every other call; /chunks answers in chunks; /no says no; /gone closes without a word."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((body, self.headers["Authorization"]))  # type: ignore[attr-defined]
        if self.path == "/gone":
            self.close_connection = True
            return
        self.send_response(503 if self.path == "/half" and len(self.server.seen) % 2 else 200)  # type: ignore[attr-defined]
        answer = b'{"allowed": false}' if self.path == "/no" else b'{"allowed": true}'
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(answer), answer))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr("benchmarks.load.shutil.which", lambda _name: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _question(server: ThreadingHTTPServer, path: str) -> Question:
    return Question(f"http://127.0.0.1:{server.server_port}{path}", '{"id": "@id@"}', keys=("one", "two"))


def test_client__every_other_answer_is_an_error__counts_them_with_fresh_ids_and_keys_in_turn(
    server: ThreadingHTTPServer,
) -> None:
    figures = post(_question(server, "/half"), seconds=1, clients=1)
    seen = server.seen  # type: ignore[attr-defined]
    assert len({body for body, _ in seen}) == len(seen) > 1
    assert [key for _, key in seen[:4]] == ["Bearer two", "Bearer one", "Bearer two", "Bearer one"]
    assert figures.errors == (len(seen) + 1) // 2
    assert 0 < figures.p50 <= figures.p99
    assert figures.rate == pytest.approx(len(seen) / figures.seconds)


def test_client__answers_in_chunks__are_read_to_their_end(server: ThreadingHTTPServer) -> None:
    figures = post(_question(server, "/chunks"), seconds=1, clients=2)
    assert figures.errors == 0
    assert figures.rate > 0


def test_client__server_closes_without_an_answer__is_an_error(server: ThreadingHTTPServer) -> None:
    assert post(_question(server, "/gone"), seconds=1, clients=3).errors == 3


def test_ask_once__answer_says_no__is_refused(server: ThreadingHTTPServer) -> None:
    assert ask_once(_question(server, "/yes")) == {"allowed": True}
    with pytest.raises(RuntimeError, match=r"/no answers 200"):
        ask_once(_question(server, "/no"))
