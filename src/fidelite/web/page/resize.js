// Bilinear resizing as Pillow does it (Image.Resampling.BILINEAR), so that a picture becomes the same numbers here as
// in `fidelite run`: a triangle as wide as the step where the picture shrinks; first along rows, then along columns
// (the other way round where rows grow and columns shrink, as Pillow 13 does); for bytes, weights are whole numbers of
// 2^-22 and each pass is rounded to bytes.
const ONE = 2 ** 22;

/** For each place of the result: where it starts to read, and its weights. */
function weightsOf(from, to, whole) {
    const step = from / to;
    const support = Math.max(step, 1);
    const rows = [];
    for (let i = 0; i < to; i += 1) {
        const centre = (i + 0.5) * step;
        const first = Math.max(0, Math.trunc(centre - support + 0.5));
        const end = Math.min(from, Math.trunc(centre + support + 0.5));
        const weights = new Float64Array(end - first);
        let sum = 0;
        for (let j = first; j < end; j += 1) {
            weights[j - first] = Math.max(0, 1 - Math.abs((j - centre + 0.5) / support));
            sum += weights[j - first];
        }
        for (let j = 0; j < weights.length; j += 1) {
            weights[j] /= sum;
            if (whole) weights[j] = Math.trunc(weights[j] * ONE + 0.5);
        }
        rows.push({ first, weights });
    }
    return rows;
}

/** Along rows of single values: `outer` rows of `from` become rows of `to`; sums are doubles. */
function alongRows(source, target, outer, from, to, whole) {
    const rows = weightsOf(from, to, whole);
    for (let i = 0; i < to; i += 1) {
        const { first, weights } = rows[i];
        for (let o = 0, at = first, put = i; o < outer; o += 1, at += from, put += to) {
            let sum = whole ? ONE / 2 : 0;
            for (let j = 0; j < weights.length; j += 1) sum += source[at + j] * weights[j];
            target[put] = whole ? Math.floor(sum / ONE) : sum;
        }
    }
    return target;
}

/** Along one axis: `outer` blocks of `from` x `inner` values become blocks of `to` x `inner`; sums are doubles. */
function along(source, target, outer, from, to, inner, whole) {
    if (inner === 1) return alongRows(source, target, outer, from, to, whole);
    const rows = weightsOf(from, to, whole);
    const sums = new Float64Array(inner);
    for (let o = 0; o < outer; o += 1) {
        for (let i = 0; i < to; i += 1) {
            const { first, weights } = rows[i];
            sums.fill(whole ? ONE / 2 : 0);
            for (let j = 0; j < weights.length; j += 1) {
                const [weight, at] = [weights[j], (o * from + first + j) * inner];
                for (let c = 0; c < inner; c += 1) sums[c] += source[at + c] * weight;
            }
            const at = (o * to + i) * inner;
            for (let c = 0; c < inner; c += 1) target[at + c] = whole ? Math.floor(sums[c] / ONE) : sums[c];
        }
    }
    return target;
}

/**
 * Values [height, width, channels] at another size: bytes (Uint8ClampedArray) or floats (Float32Array), as they come.
 */
export function resize(values, [height, width], [toHeight, toWidth], channels) {
    const bytes = values instanceof Uint8ClampedArray;
    const make = (length) => (bytes ? new Uint8ClampedArray(length) : new Float32Array(length));
    const rows = (now, h) =>
        width === toWidth ? now : along(now, make(h * toWidth * channels), h, width, toWidth, channels, bytes);
    const columns = (now, w) =>
        height === toHeight ? now : along(now, make(toHeight * w * channels), 1, height, toHeight, w * channels, bytes);
    const columnsFirst = toWidth > width && toHeight < height;
    return columnsFirst ? rows(columns(values, width), toHeight) : columns(rows(values, height), toWidth);
}

/** Whole numbers [height, width] at another size, each from the nearest place. */
export function nearest(values, [height, width], [toHeight, toWidth]) {
    if (height === toHeight && width === toWidth) return values;
    const found = new values.constructor(toHeight * toWidth);
    for (let y = 0; y < toHeight; y += 1) {
        const row = Math.min(height - 1, Math.floor(((y + 0.5) * height) / toHeight)) * width;
        for (let x = 0; x < toWidth; x += 1) {
            found[y * toWidth + x] = values[row + Math.min(width - 1, Math.floor(((x + 0.5) * width) / toWidth))];
        }
    }
    return found;
}
