// The page: which models there are, which one is open, and what may be dropped.
import * as api from "./api.js";
import { errorOf, fill, finding, h, size } from "./dom.js";
import { convertView } from "./view-convert.js";
import { costsView, edgeView, opsView, problemsView, proofView, targetsView } from "./view-facts.js";
import { RunView } from "./view-run.js";

const main = document.getElementById("main");
const shelf = document.getElementById("shelf");
const curtain = document.getElementById("curtain");
let about = { models: [], precisions: [], targets: [] };
let current = null;
let running = null;

function say(text) {
    document.getElementById("say").textContent = text;
}

/** What an error says, as elements. */
function refusal(error) {
    if (error instanceof api.Refused) return error.errors.map(errorOf);
    return [finding({ code: "", text: error.message })];
}

async function refresh() {
    about = await api.state();
    document.getElementById("version").textContent = `fidelite ${about.version}`;
    fill(
        shelf,
        about.models.map((model) =>
            h(
                "button",
                {
                    type: "button",
                    class: "chip",
                    title: model.name,
                    "aria-current": current?.id === model.id ? "page" : null,
                    onclick: () => open(model.id),
                },
                h("b", {}, model.name),
                h("small", {}, size(model.bytes)),
            ),
        ),
    );
    shelf.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** Shows a model. Returns when it is drawn, before its runtime is ready. */
async function open(id) {
    running?.close();
    running = null;
    let model;
    try {
        model = await api.model(id);
    } catch (error) {
        fill(main, h("div", { class: "column" }, refusal(error)));
        return;
    }
    current = model;
    history.replaceState(null, "", `#${id}`);
    document.title = `${model.name} - fidelite`;
    await refresh();
    const onnx = model.kind === "onnx";
    if (!onnx) running = new RunView(model, say);
    fill(
        main,
        h(
            "div",
            { class: "title" },
            h("h1", {}, model.name),
            h("p", { class: "soft" }, subtitle(model)),
            !onnx && h("a", { class: "button", href: api.fileAddress(id), download: model.name }, "Save the file"),
        ),
        h(
            "div",
            { class: "columns" },
            h(
                "div",
                { class: "column wide-column" },
                problemsView(model),
                onnx
                    ? [convertView(model, about, (job) => open(job.model), refusal), edgeView(model), costsView(model)]
                    : running.element,
            ),
            h(
                "div",
                { class: "column" },
                proofView(model),
                !onnx && edgeView(model),
                targetsView(model, about.targets, refusal),
                opsView(model),
            ),
        ),
    );
    say(`${model.name} is open`);
    const { origin } = about.models.find((other) => other.id === model.source) ?? {};
    await running?.open(origin === "example");
}

function subtitle({ kind, facts, bytes, origin }) {
    const made =
        kind === "onnx"
            ? [
                  `${facts.producer ?? ""} ${facts.producer_version ?? ""}`.trim(),
                  facts.opsets?.["ai.onnx"] && `opset ${facts.opsets["ai.onnx"]}`,
              ]
                  .filter(Boolean)
                  .join(", ")
            : (facts.manifest?.options?.precision ?? "");
    const from = { example: "embedded network", converted: "converted here", dropped: "dropped here", given: "" }[
        origin
    ];
    return [kind === "onnx" ? "ONNX" : "LiteRT", size(bytes), made, from].filter(Boolean).join(" \u00b7 ");
}

function welcome() {
    fill(
        main,
        h(
            "div",
            { class: "welcome" },
            h("h1", {}, "See it, convert it, prove it, run it"),
            h("p", { class: "soft" }, "Drop an .onnx or .tflite model anywhere on this page."),
            h(
                "div",
                { class: "drop" },
                h("p", {}, "Drop a model here"),
                h(
                    "p",
                    { class: "row" },
                    h("label", { class: "button main", for: "file" }, "Open a model"),
                    h("button", { type: "button", id: "example", onclick: example }, "Try the embedded face parser"),
                ),
                h("p", { class: "soft small" }, "Weights that lie beside an .onnx file (.data) go with it."),
            ),
            h("div", { id: "problem" }),
        ),
    );
}

async function example(event) {
    const button = event.currentTarget;
    button.disabled = true;
    try {
        await open((await api.example()).id);
    } catch (error) {
        fill(document.getElementById("problem"), refusal(error));
        button.disabled = false;
    }
}

/** Files from a drop or the dialog: models (with their weights), or a picture for the model that is open. */
async function take(files) {
    const all = [...files];
    const models = all.filter((f) => /\.(onnx|tflite)$/i.test(f.name));
    const pictures = all.filter((f) => f.type.startsWith("image/"));
    const others = all.filter((f) => !models.includes(f) && !pictures.includes(f));
    if (!models.length && pictures.length && running && current.usage.picture) {
        await running.show(pictures[0]);
        return;
    }
    if (!models.length) {
        problem(
            finding({
                code: "",
                text: pictures.length
                    ? "open a model that takes pictures first"
                    : `'${all[0]?.name ?? "that"}' is neither an .onnx nor a .tflite file`,
                remedy: "drop a model",
            }),
        );
        return;
    }
    main.classList.add("waiting");
    try {
        let last = null;
        for (const file of models) {
            say(`sending ${file.name}`);
            last = await api.upload(file);
            if (/\.onnx$/i.test(file.name)) for (const weights of others) await api.upload(weights, last.id);
        }
        await open(last.id);
    } catch (error) {
        problem(...refusal(error));
    }
    main.classList.remove("waiting");
}

function problem(...elements) {
    const place = document.getElementById("problem") ?? main.appendChild(h("div", { id: "problem" }));
    fill(place, elements);
    place.scrollIntoView({ block: "nearest" });
}

let depth = 0;
addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    curtain.hidden = false;
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) {
        depth = 0;
        curtain.hidden = true;
    }
});
addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    curtain.hidden = true;
    take(event.dataTransfer.files);
});
document.getElementById("file").addEventListener("change", (event) => {
    take(event.target.files).finally(() => {
        event.target.value = "";
    });
});

window.fidelite = {
    open,
    take,
    get running() {
        return running;
    },
    get current() {
        return current;
    },
};

try {
    await refresh();
    const asked = location.hash.slice(1) || about.first;
    if (about.models.some((model) => model.id === asked)) await open(asked);
    else welcome();
} catch (error) {
    fill(main, h("div", { class: "column" }, refusal(error)));
}
window.fidelite.ready = true;
