// The live state of an item: a stream, or polls where streams do not get through.

const HIDDEN = 60000;

export class Feed {
  constructor(item, onState) {
    this.item = item;
    this.onState = onState;
    this.failures = 0;
    this.start();
    document.addEventListener('visibilitychange', () => this.#visibility());
  }

  start() {
    this.stopped = false;
    this.source = new EventSource(`/api/items/${this.item}/events`);
    this.source.addEventListener('item', (event) => {
      this.failures = 0;
      this.onState(JSON.parse(event.data));
    });
    this.source.addEventListener('error', () => {
      if (this.source.readyState === EventSource.CLOSED || ++this.failures >= 3)
        this.#poll();
    });
  }

  stop() {
    this.stopped = true;
    this.source?.close();
    clearTimeout(this.timer);
  }

  // Each client at times of its own.
  async #poll() {
    this.source.close();
    clearTimeout(this.timer);
    await this.refresh();
    if (!this.stopped)
      this.timer = setTimeout(() => this.#poll(), 1000 + Math.random() * 1000);
  }

  async refresh() {
    try {
      const response = await fetch(`/api/items/${this.item}`);

      if (response.ok)
        this.onState(await response.json());
    } catch {
      // the next one may get through
    }
  }

  #visibility() {
    clearTimeout(this.hidden);
    if (document.hidden)
      this.hidden = setTimeout(() => this.stop(), HIDDEN);
    else if (this.stopped)
      this.start();
  }
}
