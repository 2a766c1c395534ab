/** Makes an element: h("p", { class: "soft", onclick: f }, "text", child, [more]). Text is always text, never HTML. */
export function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name in element && typeof value !== "string") element[name] = value;
        else element.setAttribute(name, value === true ? "" : value);
    }
    append(element, children);
    return element;
}

function append(element, children) {
    for (const child of children.flat(Infinity)) {
        if (child !== null && child !== undefined && child !== false) element.append(child);
    }
}

export function fill(element, ...children) {
    element.replaceChildren();
    append(element, children);
    return element;
}

/** A table with a head; cells may be elements, and { right: x } is set flush right. */
export function table(head, rows, caption = "") {
    const cell = (tag, value) =>
        value !== null && typeof value === "object" && "right" in value
            ? h(tag, { class: "r" }, value.right)
            : h(tag, {}, value);
    return h(
        "div",
        { class: "wide" },
        h(
            "table",
            {},
            caption && h("caption", { class: "hidden" }, caption),
            h(
                "thead",
                {},
                h(
                    "tr",
                    {},
                    head.map((text) => cell("th", text)),
                ),
            ),
            h(
                "tbody",
                {},
                rows.map((row) =>
                    h(
                        "tr",
                        {},
                        row.map((value) => cell("td", value)),
                    ),
                ),
            ),
        ),
    );
}

export function panel(title, aside, ...children) {
    return h(
        "section",
        { class: "panel", "aria-label": title },
        h("h2", {}, title, aside && h("small", {}, aside)),
        children,
    );
}

/** What an error, a notice or a finding says: code, reason, remedy. */
export function finding({ code, kind = "error", text, remedy = "", where = "" }) {
    return h(
        "div",
        { class: `finding ${kind}` },
        h("p", {}, h("span", { class: "code" }, code), " ", where && h("b", {}, `${where}: `), text),
        remedy && h("pre", {}, remedy),
    );
}

export function errorOf(error) {
    const where = [error.where?.node, error.where?.op].filter(Boolean).join(", ");
    return finding({ code: error.code, text: error.reason, remedy: error.remedy, where });
}

export function noticeOf(notice) {
    return finding({ code: notice.code, kind: notice.level, text: notice.text, remedy: notice.remedy });
}

const UNITS = ["bytes", "kB", "MB", "GB"];

export function size(bytes) {
    if (bytes === null || bytes === undefined) return "open";
    let unit = 0;
    while (bytes >= 1000 && unit < UNITS.length - 1) {
        bytes /= 1000;
        unit += 1;
    }
    return `${unit === 0 ? bytes : bytes.toFixed(bytes < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

export function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "-";
    if (value === 0 || (Number.isInteger(value) && Math.abs(value) < 1e6)) return String(value);
    return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5
        ? String(Number(value.toPrecision(4)))
        : value.toExponential(2);
}

export function shape(dims) {
    return `[${dims.map((d) => d ?? "?").join(", ")}]`;
}
