// The time of the shop.  The computer's own clock is not asked: it may be wrong by
// an hour, and may be changed while the page is open.

export class Clock {
  // ask() returns the shop's time in ms; monotonic() is ms that only go forward
  constructor(ask, monotonic = () => performance.now()) {
    this.ask = ask;
    this.monotonic = monotonic;
    this.offset = null;
  }

  get known() {
    return this.offset !== null;
  }

  now() {
    return this.monotonic() + this.offset;
  }

  // Ask some times; the answer of the shortest round trip is the most exact.
  async sync(times = 3) {
    let best = null;

    for (let i = 0; i < times; i++) {
      const sent = this.monotonic();
      const theirs = await this.ask();
      const trip = this.monotonic() - sent;

      if (!best || trip < best.trip)
        best = { trip, offset: theirs - sent - trip / 2 };
    }
    this.offset = best.offset;
  }
}

// 3 d 04:05:06, 04:05:06 or 05:06
export function format(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;

  if (days > 0)
    return `${days} d ${two(hours)}:${rest}`;
  return hours > 0 ? `${two(hours)}:${rest}` : rest;
}
