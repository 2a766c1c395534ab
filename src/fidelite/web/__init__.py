"""`fidelite serve`: a page on this machine that looks at models, converts them and runs them with LiteRT.js."""

from __future__ import annotations

from pathlib import Path

from fidelite.web.server import DEFAULT_PORT, MOST_BYTES, Served, start

__all__ = ["DEFAULT_PORT", "MOST_BYTES", "Served", "serve"]


def serve(
    model: Path | str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    most_bytes: int = MOST_BYTES,
) -> Served:
    """Start serving the page, and return at once. Close what is returned, or use it in a `with` block.

    Args:
        model: An `.onnx` or `.tflite` file that the page opens with.
        host: The address to listen on. Anything but loopback lets others on the network in.
        port: None: 8765, or any free one if that is taken. 0: any free one.
        most_bytes: The largest file that may be dropped on the page.

    Raises:
        UsageError: F290 the port is taken or may not be used, F291 LiteRT.js is not in this installation.
        LoadError: `model` cannot be read.
    """
    return start(None if model is None else Path(model), host, port, most_bytes)
