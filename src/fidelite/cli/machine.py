"""`fidelite ops`, `doctor` and `demo`."""

from __future__ import annotations

from pathlib import Path

import click

import fidelite
from fidelite.cli import base


@click.command(short_help="Which ONNX operators convert.")
@click.argument("name", required=False, default="")
@base.common
def ops(name: str, as_json: bool) -> None:
    """List the ONNX operators that convert, in which schema versions, and what of them is refused.

    With NAME, only those whose name contains it.
    """
    rows = [row.to_json() for row in fidelite.ops() if name.lower() in row.op.lower()]
    if as_json:
        base.print_json(rows)
        return
    from fidelite.report.machine import ops_document

    base.show(ops_document(rows, name))


@click.command(short_help="Is this machine fit?")
@base.common
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look at what conversion and proof need: packages, runtimes, room, paths, console.

    Both runtimes really run a tiny network. Exit code 2 if something is wrong; each remedy is a line to paste.
    """
    checks = [check.to_json() for check in fidelite.doctor()]
    if as_json:
        base.print_json(checks)
    else:
        from fidelite.report.machine import doctor_document

        base.show(doctor_document(checks))
    context.exit(2 if any(check["status"] == "bad" for check in checks) else 0)


@click.command(short_help="The main job on the embedded network, from nothing.")
@click.option("--out", "folder", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True,
              metavar="FOLDER", help="Where everything is left.")
@base.common
def demo(folder: Path, as_json: bool) -> None:
    """Inspect, convert, prove, run on a drawn face and measure: the embedded face-parsing network.

    Leaves the .tflite, the pictures and report.html in a folder.
    """
    from fidelite.report.html import page
    from fidelite.report.machine import demo_document, demo_documents

    with base.Bar(quiet=as_json) as bar:
        found = fidelite.demo(folder, on_progress=bar)
    data = found.to_json()
    report = found.folder / "report.html"
    base.write_text(report, page(demo_documents(data, found.written)))
    if as_json:
        base.print_json(data | {"report": str(report)})
    else:
        base.show(demo_document(data, found.written, report))


@click.command(short_help="A page to look at models, convert them and run them in the browser.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), help="8765, or a free one if that is taken, by default.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="The address to listen on. Others can only reach it if you choose one that is not loopback.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@base.common
def serve(model: Path | None, port: int | None, host: str, no_browser: bool, as_json: bool) -> None:
    """Open a page on this machine, with MODEL (.onnx or .tflite) if you name one.

    Drop a model on it to see its inputs, outputs, operators and proof; convert it; run it on a picture or the camera
    with LiteRT.js, in the browser itself. Nothing leaves this machine. Ctrl+C ends it.
    """
    with fidelite.serve(model, host=host, port=port) as served:
        if as_json:
            base.print_json({"address": served.address})
        else:
            click.echo(f"fidelite is at {served.address}\nCtrl+C ends it.")
        if not no_browser:
            import webbrowser

            webbrowser.open(served.address)
        try:
            served.wait()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
