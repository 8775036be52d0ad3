// What runs the network, from the side of the page: requests to worker.js and their answers.
//
//   const engine = new Engine();
//   const facts = await engine.ask("open", { threads: 2 });          // provider, threads, version, ...
//   const { arrays, ms } = await engine.ask("run", { arrays });      // by name: typed arrays
//   await engine.ask("photo", { bitmap }, [bitmap], onNews);         // onNews: tiles and finished rows
//   engine.stop();                                                   // the photo ends after this tile

export class Engine {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #count = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const asked = this.#waiting.get(data.id);
      if (!asked) return;
      if (data.news) return asked.onNews?.(data.news);
      this.#waiting.delete(data.id);
      if (data.error) asked.reject(new Error(data.error));
      else asked.resolve(data.result);
    };
    this.#worker.onerror = (event) => this.#fail(`The worker failed: ${event.message ?? "it did not load"}`);
  }

  /** Ask the worker for something; resolves to its answer, or rejects with its reason. */
  ask(what, details = {}, transfer = [], onNews = undefined) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onNews });
      this.#worker.postMessage({ id, what, details }, transfer);
    });
  }

  /** End the photo that is being worked on, after the tile that is running. */
  stop() {
    this.#worker.postMessage({ what: "stop" });
  }

  /** End the worker and free its memory; what was asked is rejected. */
  close() {
    this.#worker.terminate();
    this.#fail("The engine was closed.");
  }

  #fail(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }
}
