/** What the server said no to: its errors, each with code, reason and remedy. */
export class Refused extends Error {
    constructor(errors) {
        super(errors.map((e) => e.reason).join("\n"));
        this.errors = errors;
    }
}

async function ask(path, options = {}) {
    let response;
    try {
        response = await fetch(`api/${path}`, options);
    } catch {
        throw new Refused([
            {
                code: "",
                reason: "the server does not answer: it may have been stopped",
                remedy: "start it again: fidelite serve",
            },
        ]);
    }
    const data = await response.json().catch(() => ({}));
    if (!response.ok) {
        const unknown = [{ code: String(response.status), reason: response.statusText, remedy: "reload the page" }];
        throw new Refused(data.errors?.length ? data.errors : unknown);
    }
    return data;
}

const post = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body ?? {}) });

export const state = () => ask("state");
export const model = (id) => ask(`models/${id}`);
export const target = (id, name) => ask(`models/${id}/target/${name}`);
export const example = () => post("example");
export const fileAddress = (id) => `api/models/${id}/file`;

/** Sends a model, or (`beside` a model that was sent before) its weights. */
export function upload(file, beside = "") {
    const query = new URLSearchParams(beside ? { name: file.name, beside } : { name: file.name });
    return ask(`models?${query}`, { method: "POST", body: file });
}

/** Converts a model; `tell` hears how far it is. Returns the job when it is done, and throws what it failed at. */
export async function convert(id, options, tell) {
    let job = await post(`models/${id}/convert`, options);
    while (job.state === "running") {
        tell(job);
        await new Promise((resolve) => setTimeout(resolve, 200));
        job = await ask(`jobs/${job.id}`);
    }
    if (job.state === "failed") throw new Refused(job.errors);
    return job;
}

export async function fileOf(id) {
    const response = await fetch(fileAddress(id));
    if (!response.ok) throw new Refused([{ code: String(response.status), reason: "the file is gone", remedy: "" }]);
    return new Uint8Array(await response.arrayBuffer());
}
