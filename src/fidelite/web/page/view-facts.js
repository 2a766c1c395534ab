// What is known of a model: edge, operators, proof, what targets say.
import { target } from "./api.js";
import { errorOf, fill, finding, h, noticeOf, number, panel, shape, size, table } from "./dom.js";

export function problemsView({ facts }) {
    return [...facts.problems.map(errorOf), ...facts.notices.map(noticeOf)];
}

export function edgeView({ facts }) {
    const row = (port) => [port.name, port.type ?? "?", shape(port.shape ?? []), { right: size(port.bytes) }];
    const head = ["name", "type", "shape", { right: "size" }];
    return panel(
        "Inputs and outputs",
        "",
        table(head, facts.inputs.map(row), "Inputs"),
        h("div", { class: "arrow", "aria-hidden": "true" }, "\u2193"),
        table(head, facts.outputs.map(row), "Outputs"),
        edgeTold(facts.manifest?.edge),
    );
}

function edgeTold(edge) {
    const told = [];
    for (const [name, e] of Object.entries(edge?.inputs ?? {})) {
        if (e.permutation.length) told.push(`'${name}' is channels last; the source's is channels first`);
        if (e.normalization)
            told.push(
                `'${name}' is normalised in the graph: (x * ${number(e.normalization.scale)} - ` +
                    `[${e.normalization.mean.join(", ")}]) / [${e.normalization.std.join(", ")}]`,
            );
        if (e.element) told.push(`'${name}' is ${e.element.file}; the source's is ${e.element.source}`);
    }
    for (const [name, e] of Object.entries(edge?.outputs ?? {})) {
        if (e.permutation.length) told.push(`'${name}' is channels last; the source's is channels first`);
        if (e.argmax_axis !== null && e.argmax_axis !== undefined)
            told.push(`'${name}' is the index of the largest class`);
        if (e.element) told.push(`'${name}' is ${e.element.file}; the source's is ${e.element.source}`);
    }
    return (
        told.length > 0 &&
        h(
            "ul",
            { class: "plain small soft" },
            told.map((text) => h("li", {}, text)),
        )
    );
}

export function proofView({ kind, facts }) {
    if (kind !== "tflite") return null;
    const manifest = facts.manifest;
    if (!manifest) {
        return panel(
            "Proof",
            "",
            h("p", { class: "verdict" }, "no proof in the file"),
            h("p", { class: "soft" }, "It was not made by fidelite. With its source at hand: "),
            h("pre", {}, "fidelite verify MODEL.onnx OUT.tflite"),
        );
    }
    const parts = Object.entries(manifest.proof ?? {}).filter(([, part]) => part && part.outputs);
    const verdict = parts.length
        ? (parts.map(([, part]) => part.verdict).find((v) => v !== "proven") ?? "proven")
        : "not verified";
    const rows = parts.flatMap(([name, part]) =>
        Object.entries(part.outputs).map(([output, o]) => [
            name === "float" ? "float graph" : "this file",
            output,
            o.verdict,
            { right: number(o.max_abs) },
            { right: cosine(o.cosine) },
        ]),
    );
    const { source, options, versions } = manifest;
    return panel(
        "Proof",
        "",
        h("p", { class: `verdict ${verdict === "proven" ? "good" : "warn"}` }, verdict),
        parts.length
            ? h("p", { class: "soft" }, `Compared with ${parts[0][1].source} on ${parts[0][1].samples} samples.`)
            : h("p", { class: "soft" }, "It was converted with --no-verify."),
        rows.length > 0 &&
            table(["", "output", "verdict", { right: "largest error" }, { right: "cosine" }], rows, "Proof"),
        h(
            "dl",
            {},
            h("dt", {}, "source"),
            h(
                "dd",
                {},
                `${source?.name ?? "?"}, ${source?.producer || "unknown producer"}, ` + `opset ${source?.opset ?? "?"}`,
            ),
            h("dt", {}, "options"),
            h(
                "dd",
                {},
                Object.entries(options ?? {})
                    .filter(([, v]) => v && Object.keys(v).length)
                    .map(([k, v]) => `${k} ${typeof v === "object" ? JSON.stringify(v) : v}`)
                    .join(", "),
            ),
            h("dt", {}, "made with"),
            h(
                "dd",
                {},
                Object.entries(versions ?? {})
                    .map(([k, v]) => `${k} ${v}`)
                    .join(", "),
            ),
        ),
    );
}

function cosine(value) {
    return value === null || value === undefined ? "-" : value > 0.9999999 ? "1.0000000" : value.toFixed(7);
}

/** Of an ONNX model: what a file of each precision will weigh, and need while it runs. */
export function costsView({ kind, facts }) {
    if (kind !== "onnx" || !facts.costs) return null;
    const rows = Object.entries(facts.costs)
        .filter(([name]) => facts.precisions.includes(name))
        .map(([name, cost]) => [name, { right: size(cost.file_bytes) }, { right: size(cost.memory_bytes) }]);
    return panel(
        "What to expect",
        facts.macs ? `${(facts.macs / 1e6).toFixed(0)} million multiply-adds` : "",
        table(["precision", { right: "file" }, { right: "memory" }], rows, "Sizes"),
    );
}

export function opsView({ kind, facts }) {
    // What is refused of an operator matters only as long as it is not known that this model converts.
    const sound = facts.conversion?.converts;
    const rows =
        kind === "onnx"
            ? facts.ops.map((row) => [
                  row.op,
                  { right: row.count },
                  badge(sound ? "yes" : row.converts),
                  sound ? "" : row.refused,
              ])
            : Object.entries(facts.ops).map(([op, count]) => [op, { right: count }]);
    const head = kind === "onnx" ? ["operator", { right: "count" }, "converts", ""] : ["operator", { right: "count" }];
    const total = kind === "onnx" ? facts.ops.reduce((sum, row) => sum + row.count, 0) : facts.operators;
    const weights = facts.weights ?? {};
    return panel(
        "Operators",
        `${total} in all, ${(weights.parameters ?? 0).toLocaleString("en")} parameters`,
        h(
            "details",
            { open: rows.length <= 14 },
            h("summary", {}, `${rows.length} kinds`),
            table(head, rows, "Operators"),
        ),
    );
}

function badge(converts) {
    const good = converts === "yes" || converts === "inlined";
    return h("span", { class: good ? "good" : converts === "no" ? "bad" : "warn" }, converts);
}

const TARGETS = { cpu: "CPU", gpu: "GPU delegate", web: "Browser", mediapipe: "MediaPipe", micro: "Microcontroller" };

/** One button for each target; what it says is asked for when it is pressed. */
export function targetsView(model, names, refusal) {
    const told = h("div", { class: "told", role: "tabpanel" }, h("p", { class: "soft" }, "Choose a target."));
    const buttons = names.map((name) =>
        h(
            "button",
            {
                type: "button",
                "aria-pressed": "false",
                "data-target": name,
                onclick: (event) => ask(name, event.currentTarget),
            },
            TARGETS[name] ?? name,
        ),
    );

    async function ask(name, button) {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
        fill(told, h("p", { class: "soft" }, "Asking..."));
        try {
            fill(told, survey(await target(model.id, name)));
        } catch (error) {
            fill(told, refusal(error));
        }
    }
    return panel("Where it can go", "operator by operator", h("div", { class: "row chips" }, buttons), told);
}

const ORDER = ["refused", "fallback", "note"];
const LEVELS = { refused: "error", fallback: "warning", note: "notice" };

function survey({ title, accepted, findings, operators, run_here: tried }) {
    const groups = new Map();
    for (const f of findings) {
        const key = JSON.stringify([f.level, f.rule, f.reason]);
        groups.set(key, { ...f, count: (groups.get(key)?.count ?? 0) + 1 });
    }
    const sorted = [...groups.values()].sort((a, b) => ORDER.indexOf(a.level) - ORDER.indexOf(b.level));
    const falls = operators.filter((o) => o.verdict === "fallback").length;
    const refused = findings.some((f) => f.level === "refused");
    const text = accepted
        ? falls
            ? `taken; ${falls} of ${operators.length} operators run elsewhere`
            : "taken"
        : refused
          ? "refused"
          : "not tried: the model does not convert";
    return [
        h("p", { class: `verdict ${accepted ? (falls ? "warn" : "good") : "bad"}` }, text),
        h("p", { class: "soft small" }, `${title}. ${tried[0].toUpperCase()}${tried.slice(1)}.`),
        sorted.map((f) =>
            finding({
                code: f.rule,
                kind: LEVELS[f.level],
                where: f.op || f.tensor,
                remedy: f.remedy,
                text: f.reason + (f.count > 1 ? ` (${f.count} times)` : ""),
            }),
        ),
    ];
}
