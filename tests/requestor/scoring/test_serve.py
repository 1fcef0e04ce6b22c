"""Tests of `nima-golem serve`, run as a program, over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from drawn_photos import encoded, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spread_model import save_spread_model

from nima.scoring.scorer import Scorer
from requestor.scoring.serving.access import RateLimit, host_is_ours, is_loopback


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "spread.safetensors"
    save_spread_model(path)
    return path


@contextmanager
def serving(model: Path, log: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Starts the service; yields the process, and the port that it chose."""
    command = [sys.executable, "-m", "requestor.commands.main", "serve", "--port", "0", "--model", str(model), *options]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=log.parent, stdout=errors, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while (said := re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, int(said[1])
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def port(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    log = tmp_path_factory.mktemp("serve") / "log"
    limits = ("--max-megabytes", "0.5", "--max-megapixels", "0.5", "--rate", "1000", "--max-waiting-each", "32")
    with serving(model, log, *limits) as (_, chosen):
        yield chosen


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Sends a request; returns status, content (of JSON) and headers, whose names are in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    is_json = "json" in answer.headers["Content-Type"]
    return answer.status, json.loads(content) if is_json else content, {k.lower(): v for k, v in answer.getheaders()}


def test_the_answer_is_the_row_of_score(port: int, model: Path) -> None:
    photo = encoded(picture(1), "JPEG")
    expected = json.loads(json.dumps(next(iter(Scorer(model).score([photo]))).as_row()))
    status, row, _ = ask(port, "POST", "/score", photo)
    assert (status, row) == (200, expected)
    form = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="me.jpg"\r\n\r\n' + photo + b"\r\n--x--\r\n"
    status, row, _ = ask(port, "POST", "/score", form, Content_Type="multipart/form-data; boundary=x")
    assert (status, row) == (200, expected | {"path": "me.jpg"})


def test_those_who_ask_together_get_each_their_own(port: int, model: Path) -> None:
    photos = [encoded(picture(seed, 200 + seed), "PNG") for seed in range(12)]
    expected = [one.aesthetic_score for one in Scorer(model).score(photos)]
    with ThreadPoolExecutor(len(photos)) as pool:
        answers = list(pool.map(lambda photo: ask(port, "POST", "/score", photo)[1], photos))
    # The digits may differ in another batch.
    assert [row["aesthetic_score"] for row in answers] == pytest.approx(expected, abs=1e-4)
    assert [row["width"] for row in answers] == [200 + seed for seed in range(12)]


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"x" * 600_000, 413, "0.5 MB"),
        (iter([b"x" * 300_000] * 2), 413, "0.5 MB"),  # in chunks, without a length that announces the size
        (encoded(Image.new("L", (1000, 1000)), "PNG"), 413, "0.5 megapixels"),
        (b"no photo", 422, "no photo in a known format"),
        (encoded(picture(1), "JPEG")[:2000], 422, "damaged"),
        (b"", 400, "There is no photo"),
    ],
    ids=["long", "long in chunks", "many pixels", "text", "torn off", "nothing"],
)
def test_what_is_no_photo_or_too_large_gets_its_status_and_the_reason(
    port: int, body: Any, status: int, complaint: str
) -> None:
    answered, row, _ = ask(port, "POST", "/score", body)
    assert answered == status
    assert complaint in row["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # a name that was made to resolve to this machine
        ({"Host": "192.0.2.7"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "localhost"}, 200),
    ],
)
def test_pages_of_other_sites_get_nothing(port: int, headers: dict[str, str], status: int) -> None:
    answered, _, sent = ask(port, "POST", "/score", encoded(picture(1), "JPEG"), **headers)
    assert answered == status
    assert "access-control-allow-origin" not in sent


def test_health_and_paths_that_do_not_exist(port: int) -> None:
    status, health, _ = ask(port, "GET", "/health")
    assert (status, health["status"]) == (200, "ok")
    assert health["model"].startswith("spread@")
    assert ask(port, "GET", "/etc/passwd")[:2] == (404, {"error": "Not Found"})
    assert ask(port, "PUT", "/score", b"x")[0] == 405


def test_too_many_and_too_fast_are_told_when_to_come_back_and_ctrl_c_ends_it(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(model, log, "--max-waiting", "1", "--rate", "0.01") as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nfirst of it")
            while ask(port, "GET", "/health")[1]["waiting"] == 0:
                time.sleep(0.02)
            status, _, headers = ask(port, "POST", "/score", b"x")
            assert (status, headers["retry-after"]) == (503, "1")
        while ask(port, "GET", "/health")[1]["waiting"] == 1:  # until it has noticed that the slow one is gone
            time.sleep(0.02)
        status, _, headers = ask(port, "POST", "/score", b"x")
        assert status == 429
        assert 60 < int(headers["retry-after"]) <= 100
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert log.read_text().count("\n") == 1  # the address, and no traceback


def test_large_photos_at_once_one_slow_client_and_broken_requests_do_little_harm(model: Path, tmp_path: Path) -> None:
    """Photos of few bytes and many pixels, uploads that never end, and requests that are no HTTP."""
    with serving(model, tmp_path / "log", "--max-waiting-each", "3") as (process, port):
        start = [peak_bytes(process)]
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        for one in slow:
            one.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nfirst of it")
        assert slow[3].recv(1000).startswith(b"HTTP/1.1 429")
        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            assert other.recv(1000).startswith(b"HTTP/1.1 422")
        for one in slow:
            one.close()
        while ask(port, "GET", "/health")[1]["waiting"]:
            time.sleep(0.02)
        bomb = encoded(Image.new("RGBA", (9000, 6550)), "PNG")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: ask(port, "POST", "/score", bomb)[0], range(2)))
        assert answers == [200] * 2
        assert peak_bytes(process) - start[0] < 1.1e9  # one of them takes 0.7 GB
        with socket.create_connection(("127.0.0.1", port)) as rude:
            rude.sendall(b"\x1b]0;owned\x07 / HTTP/9\r\n\r\n")
            assert rude.recv(1000).startswith(b"HTTP/1.0 400")
    assert (tmp_path / "log").read_text().count("\n") == 1  # the address


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    """Returns the largest resident memory that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def assert_hardened(headers: dict[str, str]) -> None:
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no gzip", {"Content_Encoding": "gzip"}, 415),
        (b"no form", {"Content_Type": "multipart/form-data"}, 400),
        (b"--x\r\n\r\n", {"Content_Type": FORM}, 400),
        (b"--x\r\nContent-Length: -5\r\n", {"Content_Type": FORM}, 400),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(
    port: int, content: bytes, headers: dict[str, str], status: int
) -> None:
    answered, row, sent = ask(port, "POST", "/score", content, **headers)
    assert (answered, list(row)) == (status, ["error"])
    assert_hardened(sent)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/nothing", {}),
        ("PUT", "/score", {}),
        ("POST", "/score", {"Expect": "a miracle"}),
        ("POST", "/score", {"Host": "evil.example"}),
        ("POST", "/score", {}),
    ],
)
def test_every_answer_has_the_security_headers(port: int, method: str, path: str, headers: dict[str, str]) -> None:
    assert_hardened(ask(port, method, path, **headers)[2])


@pytest.mark.parametrize(
    "request_line", [b"no HTTP", b"GET / HTTP/9.9", b"GET /\xff\x00 HTTP/1.1", b"GET / HTTP/1.1\r\n: x"]
)
def test_the_answer_to_what_is_no_http_has_the_security_headers(port: int, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(request_line + b"\r\nHost: 127.0.0.1\r\n\r\n")
        head, _, _ = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert " 400 " in head.splitlines()[0]
    assert_hardened({name.lower(): value for name, value in (line.split(": ", 1) for line in head.splitlines()[1:])})


def test_networks_and_ports_in_use_are_clear_errors(port: int, model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "requestor.commands.main", "serve", "--model", str(model)]
    for options, complaint in (
        (["--host", "0.0.0.0"], "Pass --allow-network"),
        (["--port", str(port)], f"--port {port} cannot be used"),
    ):
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr


def test_photos_that_are_chosen_on_the_page_are_listed_best_first(
    browser: Browser, port: int, model: Path, tmp_path: Path
) -> None:
    photos = {f"{seed}.png": encoded(picture(seed), "PNG") for seed in range(3)}
    scores = {name: next(iter(Scorer(model).score([photo]))).aesthetic_score or 0 for name, photo in photos.items()}
    browser.open(f"http://127.0.0.1:{port}/", width=390, height=844)
    browser.run(
        """const files = new DataTransfer();
        for (const [name, bytes] of Object.entries(arguments[0]))
            files.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
        files.items.add(new File(["no photo"], "notes.png", { type: "image/png" }));
        const input = document.getElementById("files");
        input.files = files.files;
        input.dispatchEvent(new Event("change"));""",
        {name: list(photo) for name, photo in photos.items()},
    )
    browser.wait_for("document.getElementById('status').textContent.startsWith('4 photos')")
    shown = browser.run("return [...document.querySelectorAll('li')].map(item => item.innerText)")
    assert [text.split("\n")[0] for text in shown] == [*sorted(scores, key=lambda name: -scores[name]), "notes.png"]
    assert f"{max(scores.values()):.2f}" in shown[0]
    assert "no photo in a known format" in shown[-1]
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    # Its policy allows all that the page does; the answer for the text is logged, too.
    assert [line for line in browser.console() if "422" not in line] == []
    if os.environ.get("SCREENSHOTS"):
        browser.screenshot(Path(os.environ["SCREENSHOTS"]) / "serve.png", whole=True)


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_no_address_gets_more_than_its_rate(rate: float, pauses: list[float]) -> None:
    now = 0.0
    limit = RateLimit(rate, clock=lambda: now)
    allowed = 0
    for pause in pauses:
        now += pause
        wait = limit.wait("a")
        allowed += wait == 0
        assert allowed <= max(1, 2 * rate) + rate * now + 1e-6
        assert limit.wait("b") >= 0
    now += wait + 1e-9
    assert limit.wait("a") == 0 or wait == 0


def test_names_of_this_service() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "mybox", "10.0.0.1")] == [
        *(True, True, True),
        *(False,) * 4,
    ]
    assert host_is_ours("[::1]:8000", loopback=True, names=())
    assert host_is_ours("10.0.0.5:8000", loopback=False, names=())
    assert not host_is_ours("10.0.0.5:8000", loopback=True, names=())
    assert host_is_ours("Photos.Example", loopback=False, names={"photos.example"})
    assert not any(host_is_ours(header, loopback=False, names=()) for header in ("", "[", "evil.example", "::1"))
