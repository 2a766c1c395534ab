// The panel that converts an ONNX model.
import { convert } from "./api.js";
import { fill, h, panel } from "./dom.js";

const STAGES = {
    read: "Reading",
    prepare: "Preparing",
    lower: "Lowering",
    optimize: "Optimizing",
    quantize: "Quantizing",
    verify: "Proving",
    write: "Writing",
};
const TARGETS = {
    cpu: "any LiteRT",
    gpu: "GPU delegate",
    web: "Browser",
    mediapipe: "MediaPipe",
    micro: "Microcontroller",
};

/** `done` gets the job of a finished conversion; `refusal` makes elements of an error. */
export function convertView(model, { precisions, targets }, done, refusal) {
    const progress = h(
        "div",
        { class: "progress", hidden: true },
        h("p", { id: "stage" }),
        h("progress", { max: 1, value: 0, "aria-labelledby": "stage" }),
    );
    const said = h("div");
    const pick = (id, label, choices, value) =>
        h(
            "div",
            { class: "field" },
            h("label", { for: id }, label),
            h(
                "select",
                { id },
                choices.map(([v, text]) => h("option", { value: v, selected: v === value }, text)),
            ),
        );
    const tick = (id, label, checked) =>
        h("label", { class: "tick", for: id }, h("input", { type: "checkbox", id, checked }), label);
    const open = (model.facts.inputs ?? []).filter((input) => (input.shape ?? []).some((d) => typeof d !== "number"));
    const button = h("button", { type: "submit", class: "main", id: "convert" }, "Convert and prove");
    const form = h(
        "form",
        { onsubmit: start },
        h(
            "div",
            { class: "fields" },
            pick(
                "target",
                "For",
                targets.map((t) => [t, TARGETS[t] ?? t]),
                targets.includes("web") ? "web" : targets[0],
            ),
            pick(
                "precision",
                "Precision",
                precisions.map((p) => [p, p]),
                "float32",
            ),
            pick(
                "normalize",
                "Pictures",
                [
                    ["", "as the model takes them"],
                    ["imagenet", "0..255 (ImageNet)"],
                ],
                model.origin === "example" ? "imagenet" : "",
            ),
            open.map((input) =>
                h(
                    "div",
                    { class: "field" },
                    h("label", { for: `shape-${input.name}` }, `Shape of '${input.name}'`),
                    h("input", {
                        id: `shape-${input.name}`,
                        "data-input": input.name,
                        inputmode: "numeric",
                        value: (input.shape ?? []).map((d) => (typeof d === "number" ? d : 1)).join(","),
                    }),
                ),
            ),
        ),
        h(
            "div",
            { class: "row" },
            tick("nhwc", "channels last at the input", false),
            tick("prove", "prove the result", true),
        ),
        button,
    );

    async function start(event) {
        event.preventDefault();
        fill(said);
        const value = (id) => form.querySelector(`#${id}`);
        const options = {
            target: value("target").value,
            precision: value("precision").value,
            verify: value("prove").checked,
        };
        if (value("normalize").value) options.normalize = value("normalize").value;
        if (value("nhwc").checked) {
            options.layout = Object.fromEntries(
                model.facts.inputs
                    .filter((i) => [3, 4, 5].includes((i.shape ?? []).length))
                    .map((i) => [i.name, "nhwc"]),
            );
        }
        const shapes = [...form.querySelectorAll("[data-input]")].map((input) => [
            input.dataset.input,
            input.value.split(",").map(Number),
        ]);
        if (shapes.length) options.shapes = Object.fromEntries(shapes);
        button.disabled = true;
        progress.hidden = false;
        try {
            await done(await convert(model.id, options, tell));
        } catch (error) {
            fill(said, refusal(error));
        }
        progress.hidden = true;
        button.disabled = false;
    }

    function tell({ stage, done: share }) {
        progress.firstElementChild.textContent = `${STAGES[stage] ?? stage} ...`;
        progress.lastElementChild.value = share;
    }
    return panel("Convert", "to LiteRT, proven against this model", form, progress, said);
}
