// The panel that runs a model: on a picture, the camera, or made-up values.
import { fileOf } from "./api.js";
import { fill, finding, h, noticeOf, number, panel, shape, table } from "./dom.js";
import { camera, draw, fromFile, pixelsOf, stop } from "./picture.js";
import { accelerators, Runner } from "./runner.js";

const NAMES = { wasm: "WebAssembly", webgpu: "WebGPU" };

export class RunView {
    #model;
    #say;
    #runner = null;
    #picture = null;
    #video = null;
    #found = null;
    #only = null;
    #busy = false;
    #canvas = h("canvas", { width: 16, height: 9, role: "img", "aria-label": "The picture" });
    #stage = h("div", { class: "stage empty" });
    #answers = h("div", { class: "answers" });
    #speed = h("dl", { class: "speed" });
    #problem = h("div");
    #opacity = h("input", {
        type: "range",
        min: "0",
        max: "100",
        value: "55",
        id: "opacity",
        oninput: () => this.#paint(),
    });
    #which = h("select", { id: "accelerator", onchange: () => this.#reopen() });
    #runs = h(
        "select",
        { id: "runs" },
        [5, 10, 30, 100].map((n) => h("option", { selected: n === 10 }, String(n))),
    );
    #camera = h("button", { type: "button", id: "camera", onclick: () => this.#film() }, "Camera");

    constructor(model, say) {
        this.#model = model;
        this.#say = say;
        const picture = model.usage.picture;
        this.element = panel(
            "Run it here",
            "with LiteRT.js, in this browser",
            picture ? this.#pictureControls() : h("p", { class: "soft" }, `No picture goes in: ${model.usage.why}.`),
            picture &&
                picture.notices.map((notice) =>
                    noticeOf({
                        ...notice,
                        remedy: "convert with a normalisation: fidelite convert MODEL.onnx --normalize imagenet",
                    }),
                ),
            this.#problem,
            picture && this.#stage,
            this.#answers,
            this.#bottom(),
        );
        if (picture) this.#empty();
    }

    #pictureControls() {
        const { usage } = this.#model;
        const [height, width] = [usage.picture.height ?? "any", usage.picture.width ?? "any"];
        return [
            h(
                "div",
                { class: "row" },
                h("label", { class: "button", for: "picture" }, "Choose a picture"),
                h("input", {
                    type: "file",
                    id: "picture",
                    class: "hidden",
                    accept: "image/*",
                    onchange: (event) => event.target.files[0] && this.show(event.target.files[0]),
                }),
                h("button", { type: "button", id: "drawn", onclick: () => this.#drawn() }, "A drawn face"),
                this.#camera,
            ),
            h(
                "p",
                { class: "soft small" },
                `Goes in at ${width} x ${height}, ${usage.picture.layout.toUpperCase()}, ` +
                    `${usage.picture.type}: ${usage.picture.told}.`,
            ),
        ];
    }

    #bottom() {
        const picture = this.#model.usage.picture;
        return h(
            "div",
            { class: "bench" },
            h(
                "div",
                { class: "row" },
                h("label", { for: "accelerator" }, "On"),
                this.#which,
                h("label", { for: "runs" }, "Runs"),
                this.#runs,
                h("button", { type: "button", id: "measure", onclick: () => this.#measure() }, "Measure"),
                !picture &&
                    h(
                        "button",
                        { type: "button", id: "made-up", class: "main", onclick: () => this.#go() },
                        "Run on made-up values",
                    ),
            ),
            this.#speed,
        );
    }

    #empty() {
        fill(this.#stage, h("p", {}, "Drop a picture here"));
    }

    /** Makes the model ready; with `drawn`, runs it on the drawn face at once. */
    async open(drawn = false) {
        const found = await accelerators();
        fill(
            this.#which,
            found.map((name) => h("option", { value: name }, NAMES[name])),
        );
        await this.#reopen();
        if (drawn && this.#runner && this.#model.usage.picture) await this.#drawn();
    }

    async #reopen() {
        this.#runner?.close();
        this.#runner = null;
        await this.#guard(async () => {
            this.#runner = await Runner.open(await fileOf(this.#model.id), this.#which.value);
            const { accelerator, threads, milliseconds, whole, build } = this.#runner.facts;
            const fell = accelerator !== this.#which.value ? ` (${NAMES[this.#which.value]} did not take it)` : "";
            const part = accelerator === "webgpu" && !whole ? ", in part" : "";
            this.#tell({
                "runs on": `${NAMES[accelerator]}${part}${fell}, ${threads} thread${threads === 1 ? "" : "s"}`,
                "made ready in": `${milliseconds.toFixed(0)} ms`,
            });
            this.element.dataset.build = build;
        });
        if (this.#picture && !this.#video) await this.#go();
    }

    #tell(rows) {
        fill(
            this.#speed,
            Object.entries(rows).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
        );
        this.rows = rows;
    }

    async show(file) {
        this.#halt();
        await this.#guard(async () => {
            this.#picture = await fromFile(file).catch(() => {
                throw new Error(`'${file.name}' is no picture that this browser can read`);
            });
            fill(this.#stage, this.#canvas).classList.remove("empty");
            draw(this.#canvas, this.#picture);
        });
        await this.#go();
    }

    async #drawn() {
        const content = await (await fetch("api/example/picture.png")).blob();
        await this.show(new File([content], "face.png", { type: "image/png" }));
    }

    async #film() {
        if (this.#video) {
            this.#halt();
            return;
        }
        await this.#guard(async () => {
            this.#video = await camera().catch((error) => {
                throw new Error(`there is no camera: ${error.message}`);
            });
            this.#camera.textContent = "Stop";
            fill(this.#stage, this.#canvas).classList.remove("empty");
            while (this.#video) {
                this.#picture = pixelsOf(this.#video, this.#video.videoWidth, this.#video.videoHeight);
                const start = performance.now();
                await this.#go();
                if (this.#video)
                    this.#tell({ ...this.rows, "frames a second": (1000 / (performance.now() - start)).toFixed(1) });
                await new Promise(requestAnimationFrame);
            }
        });
    }

    #halt() {
        if (this.#video) stop(this.#video);
        this.#video = null;
        this.#camera.textContent = "Camera";
    }

    async #go() {
        if (!this.#runner || this.#busy) return;
        this.#busy = true;
        this.element.classList.add("busy");
        await this.#guard(async () => {
            const { usage } = this.#model;
            const found = await this.#runner.ask("run", {
                picture: usage.picture ? this.#picture : null,
                usage,
                raw: this.keep,
            });
            this.last = found;
            this.#found = found.outputs.find((output) => output.mask) ?? null;
            this.#paint();
            this.#answer(found.outputs);
            this.#tell({
                ...this.rows,
                "last run":
                    `${found.milliseconds.toFixed(1)} ms (input ${found.before.toFixed(0)} ms ` +
                    `before, answer ${found.after.toFixed(0)} ms after)`,
            });
        });
        this.#busy = false;
        this.element.classList.remove("busy");
        this.runs = (this.runs ?? 0) + 1;
    }

    async #measure() {
        const { usage } = this.#model;
        if (!this.#runner || this.#busy || (usage.picture && !this.#picture)) {
            this.#say("choose a picture first");
            return;
        }
        this.#halt();
        this.#busy = true;
        this.element.classList.add("busy");
        await this.#guard(async () => {
            const times = await this.#runner.ask("measure", {
                picture: usage.picture ? this.#picture : null,
                usage,
                runs: Number(this.#runs.value),
            });
            times.sort((a, b) => a - b);
            const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))].toFixed(1);
            this.#tell({
                ...this.rows,
                latency: `${at(0.5)} ms, median of ${times.length} (fastest ${at(0)}, 90 % within ${at(0.9)})`,
            });
        });
        this.#busy = false;
        this.element.classList.remove("busy");
    }

    #paint() {
        if (!this.#picture) return;
        const mask = this.#found?.mask.length === this.#picture.width * this.#picture.height ? this.#found : null;
        draw(this.#canvas, this.#picture, mask, Number(this.#opacity.value) / 100, this.#only);
    }

    #answer(outputs) {
        const ranked = outputs.filter((output) => output.top);
        fill(
            this.#answers,
            this.#found && this.#legend(),
            ranked.map((output) => this.#classes(output)),
            this.#statistics(outputs),
        );
    }

    #legend() {
        const { shares, legend, name } = this.#found;
        const over = (only) => () => {
            this.#only = only;
            this.#paint();
        };
        return h(
            "div",
            { class: "legend" },
            h(
                "div",
                { class: "row" },
                h("label", { for: "opacity" }, "Colours"),
                this.#opacity,
                h("span", { class: "soft small" }, `classes of '${name}'`),
            ),
            h(
                "ul",
                {},
                shares.map(([c, share]) =>
                    h(
                        "li",
                        {
                            tabindex: "0",
                            onmouseenter: over(c),
                            onmouseleave: over(null),
                            onfocus: over(c),
                            onblur: over(null),
                        },
                        swatch(legend.palette[c]),
                        h("span", {}, legend.labels[c] ?? `class ${c}`),
                        h("span", { class: "r" }, `${(share * 100).toFixed(1)} %`),
                    ),
                ),
            ),
        );
    }

    #classes({ name, top }) {
        const [low, high] = [Math.min(0, ...top.map((row) => row[2])), Math.max(...top.map((row) => row[2]))];
        return h(
            "div",
            { class: "top-classes" },
            h("h3", {}, `Largest of '${name}'`),
            top.map(([index, label, score]) =>
                h(
                    "div",
                    { class: "rank" },
                    h("span", {}, label || `class ${index}`),
                    h("meter", { min: low, max: high > low ? high : low + 1, value: score }),
                    h("span", { class: "r" }, number(score)),
                ),
            ),
        );
    }

    #statistics(outputs) {
        const rows = outputs.map((o) => [
            o.name,
            `${o.type}${shape(o.shape)}`,
            { right: number(o.min) },
            { right: number(o.max) },
            { right: number(o.mean) },
        ]);
        const odd = outputs.filter((o) => o.nonfinite);
        return h(
            "details",
            { open: !this.#found },
            h("summary", {}, "Ranges of all outputs"),
            table(["output", "type", { right: "least" }, { right: "most" }, { right: "mean" }], rows, "Outputs"),
            odd.map((o) =>
                finding({ code: "", kind: "warning", text: `${o.nonfinite} values of '${o.name}' are no numbers` }),
            ),
        );
    }

    async #guard(work) {
        fill(this.#problem);
        try {
            await work();
        } catch (error) {
            this.#halt();
            if (error.message !== "closed") fill(this.#problem, finding({ code: "", text: error.message }));
        }
    }

    close() {
        this.#halt();
        this.#runner?.close();
    }
}

function swatch([r, g, b]) {
    const element = h("i", { class: "swatch", "aria-hidden": "true" });
    element.style.backgroundColor = `rgb(${r} ${g} ${b})`;
    return element;
}
