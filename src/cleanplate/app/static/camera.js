// The camera, and the countdown before the plate is taken.

import { Fault } from "./api.js";
import { toCanvas } from "./pictures.js";

const LONGEST = 640; // pixels of the longer side of live pictures

const WORDS = {
  NotAllowedError: "The camera is blocked for this page. Allow it in the browser's address bar, then try again.",
  NotFoundError: "No camera was found. Connect one, then try again.",
  NotReadableError: "The camera is in use by another program. Close that, then try again.",
};

export class Camera {
  #video;
  #stream = null;

  /** `onEnd` is called when the camera goes by itself, such as when it is unplugged. */
  constructor(video, onEnd) {
    this.#video = video;
    this.onEnd = onEnd;
  }

  async open() {
    if (!navigator.mediaDevices) {
      throw new Fault("The browser lends the camera only to pages of this machine, http://127.0.0.1, or under https.");
    }
    try {
      const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
      this.#stream.getVideoTracks()[0].addEventListener("ended", this.onEnd);
      this.#video.srcObject = this.#stream;
      await this.#video.play();
    } catch (error) {
      this.close();
      throw new Fault(WORDS[error.name] ?? `The camera does not start: ${error.message}`);
    }
  }

  /** The picture of this moment, on a canvas. */
  take() {
    return toCanvas(this.#video, LONGEST);
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }
}

/** Call `tell` with the seconds left, from `seconds` down to 1; resolves at 0, or when the signal says stop. */
export async function countDown(seconds, tell, signal) {
  for (let left = seconds; left > 0 && !signal.aborted; left--) {
    tell(left);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 1000);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
}
