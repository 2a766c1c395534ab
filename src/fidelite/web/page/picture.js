/** The largest side of a picture on the page: larger ones are made smaller before anything else. */
export const MOST = 1600;

/** RGB [height, width, 3] of what can be drawn; transparent parts on white, as in `fidelite run`. */
export function pixelsOf(source, width, height) {
    const scale = Math.min(1, MOST / Math.max(width, height));
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    const canvas = new OffscreenCanvas(w, h);
    const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, w, h);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, w, h);
    const rgba = context.getImageData(0, 0, w, h).data;
    const pixels = new Uint8ClampedArray(w * h * 3);
    for (let i = 0, j = 0; j < rgba.length; i += 3, j += 4) {
        [pixels[i], pixels[i + 1], pixels[i + 2]] = [rgba[j], rgba[j + 1], rgba[j + 2]];
    }
    return { pixels, width: w, height: h };
}

/** A picture from a file: upright, its colours as they are stored. */
export async function fromFile(blob) {
    const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    try {
        return pixelsOf(bitmap, bitmap.width, bitmap.height);
    } finally {
        bitmap.close();
    }
}

/** The camera, as a <video> that plays. Stop it with `stop`. */
export async function camera() {
    if (!navigator.mediaDevices)
        throw new Error("the browser gives the camera to pages of this machine or of https only");
    const stream = await navigator.mediaDevices.getUserMedia({
        video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" },
        audio: false,
    });
    const video = document.createElement("video");
    Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    return video;
}

export function stop(video) {
    for (const track of video.srcObject?.getTracks() ?? []) track.stop();
}

/**
 * Draws a picture on a canvas, with the colours of its classes over it. `opacity` is 0 to 1; with `only` (a class) the
 * others are left out. Classes of the background get no colour.
 */
export function draw(canvas, { pixels, width, height }, found = null, opacity = 0.55, only = null) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const image = new ImageData(width, height);
    const plain = new Set(found ? found.legend.background : []);
    for (let i = 0, j = 0, k = 0; k < width * height; i += 3, j += 4, k += 1) {
        const c = found ? found.mask[k] : 0;
        const shown = found && (only === null ? !plain.has(c) : c === only);
        const colour = shown ? found.legend.palette[c] : null;
        const dim = only !== null && !shown ? 0.35 : 1;
        for (let channel = 0; channel < 3; channel += 1) {
            const own = pixels[i + channel] * dim;
            image.data[j + channel] = colour ? own + (colour[channel] - own) * opacity : own;
        }
        image.data[j + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
}
