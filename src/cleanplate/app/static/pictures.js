// Pictures of files, cameras and answers: in, out, and onto canvases.

import { Fault } from "./api.js";

const LONGEST = 1920; // pixels of the longer side that the page works with

/** The picture in a file, on a canvas, not larger than the page works with. */
export async function readPicture(file) {
  try {
    return toCanvas(await createImageBitmap(file), LONGEST);
  } catch {
    throw new Fault(`${file.name ?? "This"} cannot be read as a picture. Choose a JPEG or PNG.`);
  }
}

/** A bitmap or a video's picture on a canvas of its shape, its longer side `longest` at most. */
export function toCanvas(source, longest) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export function toBlob(canvas, type = "image/png", quality = undefined) {
  return new Promise((resolve, reject) => {
    const given = (blob) => (blob ? resolve(blob) : reject(new Fault("This picture is too large for the browser.")));
    canvas.toBlob(given, type, quality);
  });
}

/** Mask (0 to 255) and depth (0 to 65535) of an answer of `output=maps`. */
export async function readMaps(blob) {
  const canvas = toCanvas(await createImageBitmap(blob, { colorSpaceConversion: "none" }), Infinity);
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const mask = new Uint8Array(width * height);
  const depth = new Uint16Array(width * height);
  for (let pixel = 0, at = 0; pixel < mask.length; pixel++, at += 4) {
    mask[pixel] = data[at];
    depth[pixel] = (data[at + 1] << 8) | data[at + 2];
  }
  return { width, height, mask, depth };
}

/** Hand a blob to the user as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
