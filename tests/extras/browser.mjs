// Drives a headless Chromium through steps that come as JSON on standard input; see browser.py.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

const job = JSON.parse(readFileSync(0, "utf-8"));
const { chromium } = createRequire(join(job.modules, "package.json"))("playwright-core");
const context = await chromium.launchPersistentContext(job.profile, {
    executablePath: job.executable,
    args: [...FLAGS, ...job.flags],
    viewport: { width: job.width, height: job.height },
    deviceScaleFactor: job.scale,
    colorScheme: job.scheme,
    reducedMotion: "reduce",
    permissions: job.permissions,
});

// What a page logs and fails at is told as well: a test should see it, whatever came out.
const told = { results: [], console: [], errors: [], failed: [] };
let failure = null;
try {
    const page = context.pages()[0] ?? (await context.newPage());
    page.setDefaultTimeout(job.timeout);
    page.on("console", (message) => told.console.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => told.errors.push(String(error.stack ?? error)));
    page.on("requestfailed", (request) => told.failed.push(`${request.url()}: ${request.failure()?.errorText}`));
    for (const step of job.steps) {
        told.results.push(await take(page, step));
    }
} catch (error) {
    failure = String(error.stack ?? error);
} finally {
    await context.close();
}
process.stdout.write(JSON.stringify({ ...told, failure }));

/** Takes one step: an object with one key, the step's name, and what it needs. */
async function take(page, step) {
    const [[name, value]] = Object.entries(step);
    switch (name) {
        case "open":
            await page.goto(value, { waitUntil: "load" });
            return null;
        case "evaluate": // a function's source, called in the page with `argument`
            return (await page.evaluate(`(${value.function})(${JSON.stringify(value.argument ?? null)})`)) ?? null;
        case "wait": // until an expression holds; asked from outside, for a page may forbid itself to evaluate text
            for (const end = Date.now() + job.timeout; !(await holds(page, value));) {
                if (Date.now() > end) throw new Error(`this did not come true: ${value}`);
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
            return null;
        case "click":
            await page.click(value);
            return null;
        case "choose":
            await page.setInputFiles(value.selector, value.files);
            return null;
        case "select":
            await page.selectOption(value.selector, value.option);
            return null;
        case "drop":
            return await drop(page, value);
        case "press":
            await page.keyboard.press(value);
            return null;
        case "resize":
            await page.setViewportSize(value);
            return null;
        case "media":
            await page.emulateMedia(value);
            return null;
        case "screenshot":
            if (value.full) await page.evaluate("scrollTo(0, 0)");
            await page.screenshot({ path: value.path, fullPage: value.full ?? false });
            return null;
        default:
            throw new Error(`there is no step '${name}'`);
    }
}

/** Whether an expression is true in the page; a page that is being left says nothing. */
async function holds(page, expression) {
    try {
        return await page.evaluate(`Boolean(${expression})`);
    } catch (error) {
        if (/context was destroyed|navigation/i.test(String(error))) return false;
        throw error;
    }
}

/** Drops a file on an element, as a hand would: dragenter, dragover, drop, with the file's bytes. */
async function drop(page, { selector, file, name, type }) {
    const bytes = readFileSync(file).toString("base64");
    const transfer = await page.evaluateHandle(
        ([content, called, kind]) => {
            const data = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const found = new DataTransfer();
            found.items.add(new File([data], called, { type: kind }));
            return found;
        },
        [bytes, name, type ?? ""],
    );
    for (const event of ["dragenter", "dragover", "drop"]) {
        await page.dispatchEvent(selector, event, { dataTransfer: transfer });
    }
    return null;
}
