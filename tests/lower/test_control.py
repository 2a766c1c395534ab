"""If, Loop, Scan and sequences against ONNX Runtime: as lowered, optimized, and without XNNPACK."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import parser

from fidelite.errors import FideliteError, UnsupportedAttribute, UnsupportedOp, UnsupportedType
from fidelite.optimize import optimize
from fidelite.runtime.litert import LiteRtSession
from tests.lower.support import Array, check, lowered, run_onnx, shared_worker, tflite_bytes

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
LOOP = "b (int64 i, bool going, float[2,3] v) => (bool after, float[2,3] w, float[2,3] s)"


def parsed(text: str, opset: int = 17) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')


def agrees(text: str, feeds: Mapping[str, Array], opset: int = 17) -> list[str]:
    """Compare as lowered, then optimized, run twice with and without XNNPACK; returns the main graph's operators."""
    model = parsed(text, opset)
    result = check(model, feeds)
    names = [o.op for o in result.main.operators]
    optimize(result)
    expected = run_onnx(model, feeds)
    for xnnpack in (True, False):
        with LiteRtSession(tflite_bytes(result), xnnpack=xnnpack, worker=shared_worker()) as session:
            for _ in range(2):
                found = session.run(feeds)
                for name, want in expected.items():
                    assert found[name].shape == want.shape
                    np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=1e-5)
    return names


# -- If

IF = """g (float[2,3] x, bool c) => (float[2,3] y) {
  two = Constant<value = float {2.0}>() z = Mul(x, two)
  y = If(c)<then_branch = t () => (float[2,3] a) { a = Add(z, x) },
            else_branch = e () => (float[2,3] b) { b = Sub(z, two) }> }"""


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("opset", [11, 13, 16, 19, 21])
def test_if_captures(condition: bool, opset: int) -> None:
    assert "IF" in agrees(IF, {"x": X, "c": np.array(condition)}, opset)


@pytest.mark.parametrize("condition", [True, False])
def test_if_of_a_known_condition_is_put_in_line(condition: bool) -> None:
    text = IF.replace(", bool c)", ")").replace("z = Mul", f"c = Constant<value = bool {{{int(condition)}}}>() z = Mul")
    assert "IF" not in agrees(text, {"x": X})


@pytest.mark.parametrize("condition", [True, False])
def test_if_whose_branches_give_inputs_constants_and_one_value_twice(condition: bool) -> None:
    agrees("""g (float[2,3] x, bool c) => (float[2,3] y, float[2] k, float[2,3] z) {
      y, k, z = If(c)<
        then_branch = t () => (float[2,3] a, float[2] l, float[2,3] d) {
          a = Identity(x) l = Constant<value = float[2] {1.0, 2.0}>() d = Identity(x) },
        else_branch = e () => (float[2,3] b, float[2] m, float[2,3] f) {
          b = Neg(x) m = Constant<value = float[2] {3.0, 2.0}>() f = Identity(b) }> }""",
           {"x": X, "c": np.array(condition)})


@pytest.mark.parametrize("condition", [True, False])
def test_if_of_two_sizes(condition: bool) -> None:
    agrees("""g (float[2,3] x, bool c) => (float[r,3] y) {
      v = If(c)<then_branch = t () => (float[p,3] a) { a = Concat<axis = 0>(x, x) },
                else_branch = e () => (float[2,3] b) { b = Neg(x) }> y = Abs(v) }""",
           {"x": X, "c": np.array(condition)})


@pytest.mark.parametrize(("outer", "inner"), [(True, True), (True, False), (False, True)])
def test_if_within_if_with_a_dynamic_batch(outer: bool, inner: bool) -> None:
    agrees("""g (float[N,3] x, bool c, bool d) => (float[N,3] y) { z = Neg(x)
      y = If(c)<
        then_branch = t () => (float[N,3] a) {
          a = If(d)<then_branch = tt () => (float[N,3] q) { q = Add(z, x) },
                    else_branch = te () => (float[N,3] q2) {
                      s = Shape(x) f = Constant<value_ints = [-1]>() l = Reshape(x, f) u = Reshape(l, s)
                      q2 = Mul(u, z) }> },
        else_branch = e () => (float[N,3] b) { b = Neg(z) }> }""",
           {"x": X, "c": np.array(outer), "d": np.array(inner)})


def test_if_of_two_ranks_is_refused() -> None:
    text = IF.replace("(float[2,3] b)", "(float[6] b)").replace(
        "b = Sub(z, two)", "f = Constant<value_ints = [-1]>() b = Reshape(z, f)").replace("(float[2,3] y)", "(float y)")
    with pytest.raises(UnsupportedAttribute, match="dimensions"):
        lowered(parsed(text))


def test_all_that_fails_in_branches_is_told() -> None:
    text = IF.replace("a = Add(z, x)", "a = Nonsense(z)").replace("b = Sub(z, two)", "b = Rubbish(z)")
    with pytest.raises(FideliteError) as caught:
        lowered(parsed(text))
    assert "Nonsense" in str(caught.value)
    assert "Rubbish" in str(caught.value)


# -- Loop

@given(trips=st.integers(0, 5), going=st.booleans(), opset=st.sampled_from([11, 13, 16, 19, 21]))
def test_loop_of_run_time_length(trips: int, going: bool, opset: int) -> None:
    names = agrees(f"""g (int64 m, bool c, float[2,3] x) => (float[2,3] y, float[k,2,3] z) {{
      y, z = Loop(m, c, x)<body = {LOOP} {{ after = Identity(going) f = Cast<to = 1>(i) s = Add(v, f)
        w = Mul(s, x) }}> }}""", {"m": np.array(trips), "c": np.array(going), "x": X * np.float32(0.3)}, opset)
    assert "WHILE" in names


@pytest.mark.parametrize(("trips", "unrolled"), [(4, True), (700, False)])
def test_loop_of_known_length(trips: int, unrolled: bool) -> None:
    names = agrees(f"""g (float[2,3] x) => (float[2,3] y, float[k,2,3] z) {{ m = Constant<value = int64 {{{trips}}}>()
      y, z = Loop(m, "", x)<body = {LOOP} {{ after = Identity(going) f = Cast<to = 1>(i) s = Add(v, f)
        w = Mul(s, x) }}> }}""", {"x": X * np.float32(0.1)})
    assert ("WHILE" in names) != unrolled


@pytest.mark.parametrize("most", ["", "m"])
def test_loop_that_ends_by_its_condition(most: str) -> None:
    agrees(f"""g (float[2,3] x) => (float[2,3] y, float[k,2,3] z) {{ m = Constant<value = int64 {{900}}>()
      one = Constant<value = float {{1.0}}>() most = Constant<value = float {{30.0}}>()
      y, z = Loop({most or '""'}, "", x)<body = {LOOP} {{ s = Add(v, one) w = Identity(s)
        q = ReduceSum<keepdims = 0>(w) after = Less(q, most) }}> }}""", {"x": X})


def test_loop_whose_condition_is_known_is_unrolled() -> None:
    names = agrees("""g (float[2,3] x) => (float[2,3] y, int64 n) { zero = Constant<value = int64 {0}>()
      y, n = Loop("", "", x, zero)<body = b (int64 i, bool going, float[2,3] v, int64 p) =>
          (bool after, float[2,3] w, int64 q) { one = Constant<value = int64 {1}>() q = Add(p, one)
        five = Constant<value = int64 {5}>() after = Less(q, five) w = Add(v, x) }> }""", {"x": X})
    assert "WHILE" not in names


@pytest.mark.parametrize("trips", [1, 4])
def test_loop_whose_variable_grows(trips: int) -> None:
    agrees("""g (int64 m, float[2,3] x) => (float[k,3] y) {
      v0 = Loop(m, "", x)<body = b (int64 i, bool going, float[a,3] v) => (bool after, float[c,3] w) {
        after = Identity(going) w = Concat<axis = 0>(v, x) }> y = Neg(v0) }""", {"m": np.array(trips), "x": X})


def test_loops_within_loops_and_branches_with_a_dynamic_batch() -> None:
    agrees("""g (int64 m, float[N,3] x) => (float[N,3] y, float[k,N,3] z) { n = Neg(x)
      one = Constant<value = int64 {1}>()
      y, z = Loop(m, "", x)<body = b (int64 i, bool going, float[N,3] v) => (bool after, float[N,3] w, float[N,3] s) {
        after = Identity(going) early = Less(i, one)
        u = If(early)<then_branch = t () => (float[N,3] p) { p = Add(v, x) },
                      else_branch = e () => (float[N,3] q) { q = Sub(v, n) }>
        w = Loop(m, "", u)<body = d (int64 j, bool on, float[N,3] g) => (bool further, float[N,3] h) {
          further = Identity(on) f = Cast<to = 1>(j) r = Add(g, n) h = Add(r, f) }>
        s = Neg(w) }> }""", {"m": np.array(3), "x": X})


def test_loop_that_swaps_and_passes_on() -> None:
    agrees("""g (int64 m, float[2,3] x, float[2,3] t) => (float[2,3] y, float[2,3] z) {
      y, z = Loop(m, "", x, t)<body = b (int64 i, bool going, float[2,3] v, float[2,3] u) =>
        (bool after, float[2,3] w, float[2,3] s) { after = Identity(going) w = Identity(u) s = Identity(v) }> }""",
           {"m": np.array(3), "x": X, "t": -X})


def test_loop_whose_variable_changes_its_rank_is_refused() -> None:
    with pytest.raises(UnsupportedAttribute, match="dimensions"):
        lowered(parsed("""g (int64 m, float[2,3] x) => (float[] y) { f = Constant<value_ints = [0]>()
          y = Loop(m, "", x)<body = b (int64 i, bool going, float[] v) => (bool after, float[] w) {
            after = Identity(going) w = Unsqueeze(v, f) }> }"""))


# -- Scan

@pytest.mark.parametrize("steps", [4, 600])
@pytest.mark.parametrize("length", ["steps", "N"])
@given(backwards=st.integers(0, 1), prepends=st.integers(0, 1), axis=st.sampled_from([0, 1, -1]),
       output_axis=st.sampled_from([0, 1, -1]))
def test_scan(steps: int, length: str, backwards: int, prepends: int, axis: int, output_axis: int) -> None:
    size = "N" if length == "N" else str(steps)
    shape = f"{size},3" if axis == 0 else f"3,{size}"
    result = f"{size},3" if output_axis == 0 else f"3,{size}"
    x = np.random.default_rng(steps).standard_normal((steps, 3) if axis == 0 else (3, steps)).astype(np.float32)
    agrees(f"""g (float[3] s, float[{shape}] x) => (float[3] y, float[{result}] z) {{
      y, z = Scan<num_scan_inputs = 1, scan_input_axes = [{axis}], scan_output_axes = [{output_axis}],
                  scan_input_directions = [{backwards}], scan_output_directions = [{prepends}],
                  body = b (float[3] a, float[3] e) => (float[3] c, float[3] o) {{
        d = Add(a, e) c = Mul(d, s) o = Neg(d) }}>(s, x) }}""", {"s": np.array([0.5, 0.2, -0.3], np.float32), "x": x})


def test_scan_of_opset_8() -> None:
    agrees("""g (float[2,3] s, float[2,4,3] x) => (float[2,3] y, float[2,4,3] z) {
      y, z = Scan<num_scan_inputs = 1, body = b (float[3] a, float[3] e) => (float[3] c, float[3] o) {
        c = Add(a, e) o = Neg(c) }>("", s, x) }""",
           {"s": X, "x": np.arange(24, dtype=np.float32).reshape(2, 4, 3)}, opset=8)


# -- sequences

def test_sequences_resolve_to_their_elements() -> None:
    agrees("""g (float[2,3] x) => (float[2,3] y, int64 n, float[4,3] z, float[2,2,3] t) {
      a = Neg(x) first = Constant<value = int64 {0}>() last = Constant<value = int64 {-1}>()
      s = SequenceConstruct(x, a) y = SequenceAt(s, last) n = SequenceLength(s)
      e = SequenceEmpty() p = SequenceInsert(e, x) q = SequenceInsert(p, a, first) r = SequenceInsert(q, x)
      u = SequenceErase(r, first) v = Identity(u)
      z = ConcatFromSequence<axis = 0>(v) t = ConcatFromSequence<axis = 1, new_axis = 1>(v) }""", {"x": X})


@given(erased=st.integers(-3, 2), inserted=st.integers(-2, 2), taken=st.integers(-3, 2))
def test_positions_in_sequences_count_from_either_end(erased: int, inserted: int, taken: int) -> None:
    agrees(f"""g (float[2,3] x) => (float[2,3] y) {{ a = Neg(x) b = Abs(x) c = Exp(x)
      p = Constant<value = int64 {{{erased}}}>() q = Constant<value = int64 {{{inserted}}}>()
      r = Constant<value = int64 {{{taken}}}>() s = SequenceConstruct(x, a, b) t = SequenceErase(s, p)
      u = SequenceInsert(t, c, q) y = SequenceAt(u, r) }}""", {"x": X})


@pytest.mark.parametrize("keep", [0, 1])
def test_split_to_sequence(keep: int) -> None:
    agrees(f"""g (float[2,3] x) => (float{"[2,1]" if keep else "[2]"} y, float[2,1] z) {{
      one = Constant<value = int64 {{1}}>() two = Constant<value = int64 {{2}}>()
      s = SplitToSequence<axis = 1, keepdims = {keep}>(x) y = SequenceAt(s, one)
      t = SplitToSequence<axis = 1>(x, two) z = SequenceAt(t, one) }}""", {"x": X})


def test_a_sequence_that_a_known_loop_fills() -> None:
    agrees("""g (float[2,3] x) => (float[6,3] y) { e = SequenceEmpty() m = Constant<value = int64 {3}>()
      s = Loop(m, "", e)<body = b (int64 i, bool going, seq(float[2,3]) v) => (bool after, seq(float[2,3]) w) {
        after = Identity(going) f = Cast<to = 1>(i) q = Mul(x, f) w = SequenceInsert(v, q) }>
      y = ConcatFromSequence<axis = 0>(s) }""", {"x": X})


def test_a_sequence_that_a_run_time_loop_fills_is_refused() -> None:
    with pytest.raises(UnsupportedType, match="sequence"):
        lowered(parsed("""g (float[2,3] x, int64 m) => (float[k,3] y) { e = SequenceEmpty()
          s = Loop(m, "", e)<body = b (int64 i, bool going, seq(float[2,3]) v) => (bool after, seq(float[2,3]) w) {
            after = Identity(going) w = SequenceInsert(v, x) }>
          y = ConcatFromSequence<axis = 0>(s) }"""))


def test_an_operator_without_lowering_in_a_body_is_named() -> None:
    with pytest.raises(UnsupportedOp, match="Nonsense"):
        lowered(parsed("""g (int64 m, float[2,3] x) => (float[2,3] y) {
          y = Loop(m, "", x)<body = b (int64 i, bool going, float[2,3] v) => (bool after, float[2,3] w) {
            after = Identity(going) w = Nonsense(v) }> }"""))


def test_graphs_that_nobody_calls_go_with_their_operator() -> None:
    model = lowered(parsed(IF.replace("y = If", "w = If").replace("}> }", "}> y = Neg(z) }")))
    assert len(model.graphs) in (1, 3)
    optimize(model)
    assert len(model.graphs) == 1


@pytest.mark.parametrize("opset", [15, 16, 18])
def test_optionals(opset: int) -> None:
    """What is there is known when converting."""
    agrees("""g (float[2,3] x) => (float[2,3] y, bool has) {
      o = Optional(x) has = OptionalHasElement(o) e = OptionalGetElement(o) y = Neg(e) }""", {"x": X}, opset)


def test_an_empty_optional() -> None:
    text = """g (float[2,3] x) => (float[2,3] y, bool has) {
      s = Optional<type = optional(tensor(float))>() has = OptionalHasElement(s) y = Neg(x) }"""
    model = parsed(text.replace("<type = optional(tensor(float))>", ""), 18)
    attribute = model.graph.node[0].attribute.add(name="type", type=onnx.AttributeProto.TYPE_PROTO)
    attribute.tp.optional_type.elem_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    check(model, {"x": X}, expected={"y": -X, "has": np.array(False)})


@pytest.mark.parametrize("opset", [17, 18])
def test_sequence_map(opset: int) -> None:
    """A body on each element, beside a sequence of the same length and a tensor for all."""
    agrees("""g (float[2,3] x, float[2,3] a) => (float[2,3] y, float[4,3] z) {
      s = SequenceConstruct(x, a) t = SequenceConstruct(a, x) last = Constant<value = int64 {1}>()
      u, v = SequenceMap(s, t, x)<body = m (float[2,3] p, float[2,3] q, float[2,3] r) => (float[2,3] k, float[2,3] l) {
        d = Sub(p, q) k = Mul(d, r) l = Neg(d) }>
      y = SequenceAt(u, last) z = ConcatFromSequence<axis = 0>(v) }""", {"x": X, "a": X * 2 + 1}, opset)
