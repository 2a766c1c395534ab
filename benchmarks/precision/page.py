"""precision.md from precision.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report import markdown_table

Json = Mapping[str, Any]
TOOLS = ("fidelite", "litert-quantizer")


def worst(row: Json, figure: str) -> float | None:
    """The smallest of that figure over the outputs; None where no output has it (a SQNR of None: no error at all)."""
    values = [o[figure] for o in row.get("outputs", {}).values() if o[figure] is not None]
    return min(values, default=None)


def short(row: Json) -> str:
    if "reason" in row:
        return str(row["reason"])[:160]
    sqnr, cosine, argmax = (worst(row, f) for f in ("sqnr", "cosine", "argmax"))
    parts = [f"{row['bytes'] / 1e6:.2f} MB", f"cosine {cosine:.4f}" if cosine is not None else ""]
    parts += [f"SQNR {sqnr:.1f} dB" if sqnr is not None else "exact"]
    if argmax is not None:
        parts.append(f"argmax {100 * argmax:.1f} %")
    usage = row["usage"]
    parts.append(f"{usage['cpu']:.1f} s, {usage['peak'] / 1e6:.0f} MB")
    return ", ".join(p for p in parts if p)


def text(results: Json) -> str:
    facts = results["machine"]
    head = (f"Written by `python -m benchmarks.precision`; {facts['system']}, {facts['cores']} cores, load "
            f"{facts['load_before']:.1f} at the start. Peer: {results['peer']}, on fidelite's own float file, "
            "with the same calibration samples. Figures are the worst over the outputs, against the float file; "
            "*time* is the run time over the float file's (one thread, in turns, median); CPU and memory are of the "
            "whole process: ONNX to quantized file for fidelite, float file to quantized file for the peer.\n")
    lines = ["# Precisions, measured\n", head]
    for subject in results["subjects"].values():
        lines += [f"## {subject['title']}\n", f"float32: {subject['float_bytes'] / 1e6:.2f} MB\n"]
        rows = [_row(mode, tool, row, subject["float_bytes"]) for mode, tools in subject["modes"].items()
                for tool, row in tools.items()]
        header = ["mode", "by", "size", "of float", "SQNR dB", "cosine", "same argmax", "mIoU lost (95 %)", "time",
                  "CPU s", "MB"]
        lines += [markdown_table(header, rows), ""]
    return "\n".join(lines)


def _row(mode: str, tool: str, row: Json, whole: int) -> list[str]:
    if "bytes" not in row:
        return [mode, tool, str(row["reason"]), *[""] * 8]
    if "reason" in row:
        return [mode, tool, f"{row['bytes'] / 1e6:.2f} MB: {row['reason']}", *[""] * 8]
    sqnr, cosine, argmax = (worst(row, f) for f in ("sqnr", "cosine", "argmax"))
    miou, usage, pace = row.get("miou"), row["usage"], row.get("latency", {})
    return [mode, tool, f"{row['bytes'] / 1e6:.2f} MB", f"{row['bytes'] / whole:.3f}",
            "exact" if sqnr is None else f"{sqnr:.1f}", "" if cosine is None else f"{cosine:.4f}",
            "" if argmax is None else f"{100 * argmax:.1f} %",
            "" if miou is None else f"{miou['lost']:+.4f} ({miou['low']:+.4f} to {miou['high']:+.4f})",
            f"{pace['ratio']:.2f}" if "ratio" in pace else str(pace.get("reason", "")),
            f"{usage['cpu']:.1f}", f"{usage['peak'] / 1e6:.0f}"]
