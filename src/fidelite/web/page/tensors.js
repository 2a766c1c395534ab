// Pictures to tensors and answers to what they mean, by the description that the server makes (fidelite.usage).
import { nearest, resize } from "./resize.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };

export function arrayOf(type, length) {
    const kind = ARRAYS[type];
    if (!kind) throw new Error(`LiteRT.js has no tensors of ${type}: convert the model with --target web`);
    return new kind(length);
}

/** RGB [height, width, 3] of 0..255 as the input that `use` describes: { data, shape, size }. */
export function fromPicture({ pixels, height, width }, use) {
    const [h, w] = [use.height ?? height, use.width ?? width];
    let values = resize(pixels, [height, width], [h, w], 3);
    let channels = 3;
    if (use.channels === 1) {
        const grey = new Uint8ClampedArray(h * w);
        for (let i = 0; i < grey.length; i += 1) {
            grey[i] = 0.299 * values[3 * i] + 0.587 * values[3 * i + 1] + 0.114 * values[3 * i + 2];
        }
        [values, channels] = [grey, 1];
    }
    const { mean, std, scale } = use.normalization;
    const data = arrayOf(use.type, h * w * channels);
    const last = use.layout === "nhwc";
    for (let c = 0; c < channels; c += 1) {
        const [m, s] = [mean[c % mean.length], std[c % std.length]];
        for (let i = 0; i < h * w; i += 1) {
            data[last ? i * channels + c : c * h * w + i] = (values[i * channels + c] * scale - m) / s;
        }
    }
    return { data, shape: last ? [1, h, w, channels] : [1, channels, h, w], size: [h, w] };
}

/** Made-up values, the same each time: a wave for floats, small numbers for integers. */
export function madeUp({ type, shape }) {
    const dims = shape.map((d) => d ?? 1);
    const data = arrayOf(
        type,
        dims.reduce((a, b) => a * b, 1),
    );
    for (let i = 0; i < data.length; i += 1) {
        data[i] = type === "float32" ? Math.sin(i * 0.37) * Math.cos(i * 0.011) : i % 7;
    }
    return { data, shape: dims };
}

/** The class of each pixel at the picture's size: { mask, shares: [[class, share]], legend }. */
export function segmentation(data, shape, use, [height, width]) {
    let mask;
    if (use.kind === "indices") {
        const dims = shape.length === 4 ? shape.slice(1, 3) : shape.slice(-2);
        mask = nearest(
            Uint8Array.from(data, (v) => Math.max(0, Math.min(255, v))),
            dims,
            [height, width],
        );
    } else {
        mask = largest(data, shape, use.axis, [height, width]);
    }
    const counts = new Uint32Array(256);
    for (const c of mask) counts[c] += 1;
    const shares = [...counts.entries()].filter(([, n]) => n).map(([c, n]) => [c, n / mask.length]);
    shares.sort((a, b) => b[1] - a[1]);
    const count = shares.reduce((most, [c]) => Math.max(most, c + 1), 0);
    return { mask, shares, legend: use.legends?.[count] ?? use.legend };
}

function largest(data, shape, axis, [height, width]) {
    const count = shape[axis];
    const [h, w] = axis === 1 ? shape.slice(2) : shape.slice(1, 3);
    const best = new Float32Array(height * width).fill(-Infinity);
    const mask = new Uint8Array(height * width);
    for (let c = 0; c < count; c += 1) {
        let plane = axis === 1 ? data.subarray(c * h * w, (c + 1) * h * w) : every(data, c, count);
        plane = resize(plane instanceof Float32Array ? plane : Float32Array.from(plane), [h, w], [height, width], 1);
        for (let i = 0; i < mask.length; i += 1) {
            if (plane[i] > best[i]) [best[i], mask[i]] = [plane[i], c];
        }
    }
    return mask;
}

function every(data, first, step) {
    const found = new Float32Array(data.length / step);
    for (let i = 0; i < found.length; i += 1) found[i] = data[i * step + first];
    return found;
}

/** The largest of [1, classes]: [[class, score]]. */
export function topClasses(data, most = 5) {
    return [...data.entries()].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, most);
}

export function statistics(data) {
    let [least, most, sum, finite] = [Infinity, -Infinity, 0, 0];
    for (const v of data) {
        if (!Number.isFinite(v)) continue;
        least = Math.min(least, v);
        most = Math.max(most, v);
        sum += v;
        finite += 1;
    }
    return finite
        ? { min: least, max: most, mean: sum / finite, nonfinite: data.length - finite }
        : { min: null, max: null, mean: null, nonfinite: data.length };
}
