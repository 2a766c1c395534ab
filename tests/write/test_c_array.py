"""The model as a C array."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import fidelite
from fidelite.errors import OutputError, UsageError
from fidelite.write.c_array import symbol, write_c_array
from tests.cli import support
from tests.source.models import conv_model, save

CONTENT = bytes(range(256)) * 3 + b"tail"


@pytest.mark.parametrize("name", ["model.cc", "2nd model-v1.c", "Gesicht grün.cpp"])
def test_bytes_come_back(name: str, tmp_path: Path) -> None:
    source, header = write_c_array(CONTENT, tmp_path / name, {"smallest": 300, "values": 200, "structures": 100})
    text = source.read_text("utf-8")
    assert bytes(int(b, 16) for b in re.findall(r"0x([0-9a-f]{2}),", text)) == CONTENT
    assert f"_len = {len(CONTENT)}U;" in text
    assert "alignas(16)" in text or "_Alignas(16)" in text
    assert f'#include "{header.name}"' in text
    assert "300 bytes" in header.read_text("ascii")
    assert symbol(source.stem) in header.read_text("ascii")


@pytest.mark.parametrize(("stem", "name"), [("model", "model"), ("2nd", "g_2nd"), ("a b-c", "a_b_c"), ("模", "model")])
def test_names(stem: str, name: str) -> None:
    assert symbol(stem) == name


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_c_array(CONTENT, tmp_path / "model.txt")
    assert caught.value.code == "F280"
    with pytest.raises(OutputError) as missing:
        write_c_array(CONTENT, tmp_path / "none" / "model.cc")
    assert missing.value.code == "F212"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".c", ".cc"])
def test_a_compiler_takes_it(suffix: str, tmp_path: Path) -> None:
    compiler = shutil.which("cc" if suffix == ".c" else "c++")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    source, _ = write_c_array(CONTENT, tmp_path / f"model{suffix}")
    main = tmp_path / f"main{suffix}"
    main.write_text('#include <stdio.h>\n#include "model.h"\n'
                    "int main(void) { fwrite(model, 1, model_len, stdout); return ((size_t)model % 16) != 0; }\n",
                    "ascii")
    standard = "-std=c11" if suffix == ".c" else "-std=c++17"
    program = tmp_path / "program"
    subprocess.run([compiler, standard, "-Wall", "-Werror", "-o", program, source, main], check=True)
    assert subprocess.run([program], check=True, capture_output=True).stdout == CONTENT


def test_command_line(tmp_path: Path) -> None:
    model = save(conv_model(), tmp_path / "conv.onnx")
    support.fidelite("convert", model, "--no-verify", "--c-array", tmp_path / "conv.cc")
    wanted = (tmp_path / "conv.tflite").read_bytes()
    text = (tmp_path / "conv.cc").read_text("ascii")
    assert bytes(int(b, 16) for b in re.findall(r"0x([0-9a-f]{2}),", text)) == wanted
    (tmp_path / "alone").mkdir()
    support.fidelite("convert", model, "--no-verify", "-o", tmp_path / "alone" / "net.cc")
    assert sorted(p.name for p in (tmp_path / "alone").iterdir()) == ["net.cc", "net.h"]
    assert "F280" in support.fidelite("convert", model, "--c-array", tmp_path / "conv.bin", code=2).output


def test_python(tmp_path: Path) -> None:
    result = fidelite.convert(save(conv_model(), tmp_path / "conv.onnx"), verify=False)
    source, header = result.save_c_array(tmp_path / "net.cc")
    assert source.exists()
    assert header.name == "net.h"
