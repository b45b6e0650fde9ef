// The server, and what it says in plain words.

const PATIENCE = 5; // times that a busy server is asked again

const WARNINGS = {
  size: "Plate and frame are not of one size, so the plate was resized. Best take both with the same setting.",
  match:
    "The plate hardly matches the frame: the camera has moved, or people fill the picture. " +
    "The result may be poor; best take the plate again.",
};

/** Something the user should read. */
export class Fault extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** What network answers: {weights, version, size, depth, metres}. */
export async function describeModel() {
  return (await ask("/api/model")).json();
}

/** Frames of the place that a plate shows; the plate is sent once. */
export class Scene {
  #plate;
  #id = null;

  constructor(plate) {
    this.#plate = plate; // a blob
  }

  /** Of a frame, a blob: the `png` that `output` of the API names, a blob too, and a `warning` in words, or none. */
  async predict(frame, output) {
    const known = this.#id !== null;
    this.#id ??= this.#post();
    try {
      const fields = { plate_id: await this.#id, frame };
      const answer = await ask(`/api/predict?output=${output}`, fields);
      const kinds = answer.headers.get("Cleanplate-Warnings")?.split(", ") ?? [];
      return { png: await answer.blob(), warning: kinds.map((kind) => WARNINGS[kind]).join(" ") };
    } catch (fault) {
      this.#id = null;
      if (fault.status !== 404 || !known) throw fault;
      return this.predict(frame, output); // the server was started anew, or has forgotten the plate
    }
  }

  async #post() {
    return (await (await ask("/api/plates", { plate: this.#plate })).json()).plate_id;
  }
}

async function ask(path, fields) {
  const request = fields ? { method: "POST", body: new FormData() } : {};
  for (const [name, value] of Object.entries(fields ?? {})) request.body.append(name, value);
  for (let times = 1; ; times++) {
    let answer;
    try {
      answer = await fetch(path, request);
    } catch {
      throw new Fault("The app does not answer. Is it still running in its terminal?");
    }
    if (answer.ok) return answer;
    if (answer.status === 429 && times < PATIENCE) {
      await wait(Number(answer.headers.get("Retry-After")) || 1);
      continue;
    }
    const { detail } = await answer.json().catch(() => ({}));
    throw new Fault(detail ? plain(detail) : `The app answered with ${answer.status}.`, answer.status);
  }
}

/** "frame: is too large; save it smaller" as a sentence. */
function plain(detail) {
  return detail.charAt(0).toUpperCase() + detail.slice(1) + ".";
}
