"""The server behind the page: its routes, what it refuses, and that nothing but its own files leaves it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import fidelite
from fidelite.errors import LoadError, UsageError
from fidelite.web import server as server_module
from fidelite.web.server import Served
from tests.cli import support
from tests.source.models import conv_model, save

JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def vendored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A checkout may lack LiteRT.js, which these tests do not need."""
    own = server_module.page_files()
    stand_in = tmp_path / "litert.js"
    stand_in.write_text("export {}", "utf-8")
    monkeypatch.setattr(server_module, "page_files", lambda: {"vendor/litert.js": stand_in, **own})


@pytest.fixture
def served(vendored: None) -> Generator[Served]:
    with fidelite.serve(port=0, most_bytes=100_000) as found:
        yield found


def ask(served: Served, method: str, path: str, body: bytes | Iterator[bytes] | None = None,
        **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request exactly as it is written: `http.client` tidies no path."""
    place = urlsplit(served.address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def data(served: Served, method: str, path: str, body: object = None, *, status: int = 200) -> JSON:
    sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    found, _, content = ask(served, method, path, sent)
    assert found == status, content
    return json.loads(content)


def code_of(served: Served, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    status, _, content = ask(served, method, path, body, **headers)
    return status, json.loads(content)["errors"][0]["code"]


def test_the_page(served: Served) -> None:
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css"),
                       ("/vendor/litert.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        status, headers, content = ask(served, "GET", path)
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert int(headers["content-length"]) == len(content) > 0
        # Threads need isolation; scripts come from here alone.
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert "unsafe-eval" not in headers["content-security-policy"].replace("wasm-unsafe-eval", "")
    assert ask(served, "HEAD", "/")[2] == b""


@pytest.mark.parametrize("path", [
    "/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/..\\server.py", "/%5c..%5cserver.py", "//etc/passwd",
    "/page/index.html", "/vendor/../../server.py", "/vendor/..%2f..%2fserver.py", "/C:/Windows/win.ini", "/server.py",
    "/index.html%00.js", "/.", "/vendor/", "/nothing.js"])
def test_no_path_leaves_the_page(served: Served, path: str) -> None:
    status, _, content = ask(served, "GET", path)
    assert status == 404
    assert b"import" not in content


def test_a_model_from_drop_to_file(served: Served, tmp_path: Path) -> None:
    content = save(conv_model(), tmp_path / "conv.onnx").read_bytes()
    entry = data(served, "POST", "/api/models?name=conv.onnx", content, status=201)
    assert (entry["name"], entry["kind"], entry["origin"]) == ("conv.onnx", "onnx", "dropped")
    told = data(served, "GET", f"/api/models/{entry['id']}")
    assert told["facts"]["conversion"]["converts"]
    assert told["usage"] is None
    assert data(served, "GET", f"/api/models/{entry['id']}/target/web")["accepted"]
    job = data(served, "POST", f"/api/models/{entry['id']}/convert", {"target": "web"}, status=202)
    job = _finished(served, job)
    assert job["state"] == "done", job
    made = data(served, "GET", f"/api/models/{job['model']}")
    assert made["facts"]["manifest"]["proof"]["file"]["verdict"] == "proven"
    assert made["facts"]["manifest"]["options"]["target"] == "web"
    assert made["usage"]["outputs"]
    _, headers, file = ask(served, "GET", f"/api/models/{job['model']}/file")
    assert file[4:8] == b"TFL3"
    assert 'filename="conv.tflite"' in headers["content-disposition"]
    names = [m["name"] for m in data(served, "GET", "/api/state")["models"]]
    assert names == ["conv.onnx", "conv.tflite"]


def _finished(served: Served, job: JSON) -> JSON:
    end = time.monotonic() + 120
    while job["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
        job = data(served, "GET", f"/api/jobs/{job['id']}")
    return job


def test_weights_beside_a_model(served: Served, tmp_path: Path) -> None:
    """An .onnx whose weights come in a second file: missing at first, then there."""
    import onnx

    model = save(conv_model(), tmp_path / "conv.onnx")
    onnx.save(onnx.load(model), tmp_path / "split.onnx", save_as_external_data=True, location="split.data",
              size_threshold=0)
    entry = data(served, "POST", "/api/models?name=split.onnx", (tmp_path / "split.onnx").read_bytes(), status=201)
    facts = data(served, "GET", f"/api/models/{entry['id']}")["facts"]
    assert {p["code"] for p in facts["problems"]} == {"F310"}
    data(served, "POST", f"/api/models?name=split.data&beside={entry['id']}", (tmp_path / "split.data").read_bytes(),
         status=201)
    assert not data(served, "GET", f"/api/models/{entry['id']}")["facts"]["problems"]


def test_a_conversion_that_is_refused(served: Served, tmp_path: Path) -> None:
    content = support.unknown_op(tmp_path).read_bytes()
    entry = data(served, "POST", "/api/models?name=odd.onnx", content, status=201)
    job = _finished(served, data(served, "POST", f"/api/models/{entry['id']}/convert", {}, status=202))
    assert (job["state"], job["errors"][0]["code"]) == ("failed", "F410")


def test_something_that_is_no_model(served: Served) -> None:
    entry = data(served, "POST", "/api/models?name=page.onnx", b"<!doctype html>", status=201)
    status, code = code_of(served, "GET", f"/api/models/{entry['id']}")
    assert status == 422
    assert code.startswith("F3")


@pytest.mark.parametrize("name", ["../a.onnx", "a/b.onnx", "a\\b.onnx", "C:a.onnx", "", "con.onnx", "a.onnx ", "a.exe",
                                  "%00a.onnx", "x" * 200 + ".onnx", "..", "a?.onnx"])
def test_names_that_are_no_file_names(served: Served, name: str) -> None:
    from urllib.parse import quote

    assert code_of(served, "POST", f"/api/models?name={quote(name, safe='%')}", b"x") == (422, "F292")


def test_nothing_is_written_beside_what_was_given(tmp_path: Path) -> None:
    model = save(conv_model(), tmp_path / "conv.onnx")
    with fidelite.serve(model, port=0) as served:
        first = data(served, "GET", "/api/state")["first"]
        assert code_of(served, "POST", f"/api/models?name=a.data&beside={first}", b"x") == (422, "F292")
        job = _finished(served, data(served, "POST", f"/api/models/{first}/convert", {"verify": False}, status=202))
        assert job["state"] == "done"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conv.onnx", "litert.js"]


@pytest.mark.parametrize("options", [{"weights": "/etc/passwd"}, {"samples": "x.npz"}, {"target": 3},
                                     {"normalize": "../x"}, {"approximate": ["x"]}])
def test_options_that_the_page_may_not_give(served: Served, tmp_path: Path, options: JSON) -> None:
    content = save(conv_model(), tmp_path / "conv.onnx").read_bytes()
    entry = data(served, "POST", "/api/models?name=conv.onnx", content, status=201)
    told = data(served, "POST", f"/api/models/{entry['id']}/convert", options, status=422)
    assert told["errors"][0]["code"] == "F292"


def test_limits(served: Served) -> None:
    assert code_of(served, "POST", "/api/models?name=a.onnx", b"x" * 100_001) == (413, "F293")
    status, code = code_of(served, "POST", "/api/models?name=a.onnx", None, Transfer_Encoding="chunked")
    assert (status, code) == (413, "F293")
    assert code_of(served, "POST", "/api/models/1/convert", b"[1]")[1] == "F292"
    assert code_of(served, "POST", "/api/models/1/convert", b"{")[1] == "F292"


def test_a_file_that_breaks_off(served: Served) -> None:
    place = urlsplit(served.address)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as connection:
        connection.sendall(b"POST /api/models?name=a.onnx HTTP/1.1\r\nHost: " + place.netloc.encode()
                           + b"\r\nContent-Length: 1000\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == "F296"
    assert data(served, "GET", "/api/state")["models"] == []


@pytest.mark.parametrize("path", [
    "models/99", "models/99/file", "jobs/1", "nothing", "models/../state", "models//file"])
def test_what_is_not_there(served: Served, path: str) -> None:
    assert code_of(served, "GET", f"/api/{path}") == (404, "F294")


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
    {"Sec_Fetch_Site": "cross-site"}])
def test_other_sites_are_kept_out(served: Served, headers: dict[str, str]) -> None:
    """A page elsewhere may neither read models nor drop some, also through a name that it bends to this address."""
    assert code_of(served, "POST", "/api/example", b"{}", **headers) == (403, "F295")


def test_its_own_page_may(served: Served) -> None:
    host = urlsplit(served.address).netloc
    for own in (host, host.replace("127.0.0.1", "localhost")):
        status, _, _ = ask(served, "GET", "/api/state", Host=own, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")
        assert status == 200


def test_the_example(served: Served) -> None:
    entry = data(served, "POST", "/api/example", {})
    assert data(served, "POST", "/api/example", {})["id"] == entry["id"]
    assert entry["origin"] == "example"
    status, headers, content = ask(served, "GET", "/api/example/picture.png")
    assert (status, headers["content-type"], content[:4]) == (200, "image/png", b"\x89PNG")


def test_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError) as caught:
            fidelite.serve(port=taken.getsockname()[1])
    assert caught.value.code == "F290"
    assert "--port 0" in caught.value.remedy


def test_the_usual_port_or_another() -> None:
    with fidelite.serve() as first, fidelite.serve() as second:
        assert first.address != second.address


def test_without_litert_js(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "page_files", dict)
    with pytest.raises(UsageError) as caught:
        fidelite.serve(port=0)
    assert caught.value.code == "F291"
    assert "python scripts/fetch_web.py" in caught.value.remedy


def test_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LoadError):
        fidelite.serve(tmp_path / "none.onnx", port=0)


def test_the_folder_goes(tmp_path: Path) -> None:
    with fidelite.serve(port=0) as served:
        folder = served.folder
        data(served, "POST", "/api/models?name=a.onnx", b"x", status=201)
        assert folder.is_dir()
    assert not folder.exists()
