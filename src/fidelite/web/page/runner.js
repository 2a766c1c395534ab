/** A model in LiteRT.js, in a worker of its own. Close it when it is no longer needed. */
export class Runner {
    #worker = new Worker(new URL("worker.js", import.meta.url));
    #waiting = new Map();
    #last = 0;

    constructor() {
        this.#worker.onmessage = ({ data: { id, result, error } }) => {
            const { resolve, reject } = this.#waiting.get(id);
            this.#waiting.delete(id);
            if (error === undefined) resolve(result);
            else reject(new Error(error));
        };
        this.#worker.onerror = (event) => this.#fail(event.message || "LiteRT.js could not be started");
    }

    static async open(file, accelerator) {
        const runner = new Runner();
        try {
            runner.facts = await runner.ask("open", { file, accelerator });
            return runner;
        } catch (error) {
            runner.close();
            throw error;
        }
    }

    ask(command, argument) {
        return new Promise((resolve, reject) => {
            this.#last += 1;
            this.#waiting.set(this.#last, { resolve, reject });
            this.#worker.postMessage({ id: this.#last, command, argument });
        });
    }

    #fail(reason) {
        for (const { reject } of this.#waiting.values()) reject(new Error(reason));
        this.#waiting.clear();
    }

    close() {
        this.#fail("closed");
        this.#worker.terminate();
    }
}

/** Accelerators that this browser has. */
export async function accelerators() {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
    return adapter ? ["wasm", "webgpu"] : ["wasm"];
}
