// A classic worker: LiteRT's WebAssembly is loaded with importScripts. Here the page may run a model for seconds
// without standing still, and what takes the WebAssembly down takes only this worker with it.
let litert = null;
let tensors = null;
let model = null;

const commands = {
    async open({ file, accelerator }) {
        litert = await import("./vendor/litert.js");
        tensors = await import("./tensors.js");
        const build = await buildFor(accelerator);
        const script = new URL(`vendor/wasm/litert_wasm_${build}_internal.js`, self.location).href;
        self.Module = { locateFile: (name) => new URL(name, script).href, mainScriptUrlOrBlob: script };
        const loaded = await litert.loadLiteRt(script);
        const start = performance.now();
        model = await litert.loadAndCompile(file, { accelerator });
        return {
            build,
            milliseconds: performance.now() - start,
            threads: loaded.liteRtWasm.getThreadCount(),
            accelerator: model.options.accelerator,
            whole: model.isFullyAccelerated,
            inputs: model.getInputDetails().map(({ name, dtype, shape }) => ({ name, type: dtype, shape: [...shape] })),
        };
    },

    /** Runs once with what was sent: arrays by name, a picture, or made-up values. Tells what the answers mean. */
    async run({ feeds, picture, usage, raw }) {
        const start = performance.now();
        const ready =
            feeds ??
            (picture
                ? { [usage.picture.name]: tensors.fromPicture(picture, usage.picture) }
                : Object.fromEntries(usage.inputs.map((input) => [input.name, tensors.madeUp(input)])));
        const prepared = performance.now();
        const { answers, milliseconds } = await once(ready);
        const found = usage.outputs.map((use) => meaning(use, answers[use.name], picture, raw));
        return {
            outputs: found,
            milliseconds,
            before: prepared - start,
            after: performance.now() - prepared - milliseconds,
        };
    },

    /** Latencies of so many runs in milliseconds, after one that is not counted. */
    async measure({ picture, usage, runs }) {
        const ready = picture
            ? { [usage.picture.name]: tensors.fromPicture(picture, usage.picture) }
            : Object.fromEntries(usage.inputs.map((input) => [input.name, tensors.madeUp(input)]));
        await once(ready);
        const times = [];
        for (let i = 0; i < runs; i += 1) times.push((await once(ready)).milliseconds);
        return times;
    },
};

/** Which build of the WebAssembly this browser runs best. */
async function buildFor(accelerator) {
    if (!(await litert.supportsFeature("relaxedSimd"))) return "compat";
    if (accelerator === "webgpu" && (await litert.supportsFeature("jspi"))) return "jspi";
    return self.crossOriginIsolated ? "threaded" : "compat";
}

async function once(ready) {
    const inputs = Object.fromEntries(
        Object.entries(ready).map(([name, { data, shape }]) => [name, new litert.Tensor(data, shape)]),
    );
    try {
        const start = performance.now();
        const outputs = await model.run(inputs);
        const answers = {};
        for (const [name, tensor] of Object.entries(outputs)) {
            answers[name] = { data: await tensor.data(), shape: [...tensor.type.layout.dimensions] };
            tensor.delete();
        }
        return { answers, milliseconds: performance.now() - start };
    } finally {
        for (const tensor of Object.values(inputs)) tensor.delete();
    }
}

function meaning(use, { data, shape }, picture, raw) {
    const found = { name: use.name, type: use.type, kind: use.kind, shape, ...tensors.statistics(data) };
    if (picture && (use.kind === "scores" || use.kind === "indices")) {
        Object.assign(found, tensors.segmentation(data, shape, use, [picture.height, picture.width]));
    } else if (use.kind === "classes") {
        found.top = tensors.topClasses(data).map(([index, score]) => [index, use.labels[index] ?? "", score]);
    }
    if (raw) found.data = data;
    return found;
}

self.onmessage = async ({ data: { id, command, argument } }) => {
    try {
        self.postMessage({ id, result: await commands[command](argument) });
    } catch (error) {
        self.postMessage({ id, error: String(error?.message ?? error) });
    }
};
