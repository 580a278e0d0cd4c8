// The map of a hall: radio buttons, so that keyboards and screen readers know what
// to do with it.

import { $, say } from './api.js';

const EVERY = 2000;

export class Seats {
  constructor(item, onChoice) {
    this.item = item;
    this.onChoice = onChoice;
    this.chosen = null;
    this.inputs = new Map();      // seat → input
    this.#poll();
  }

  async #poll() {
    if (!document.hidden)
      await this.refresh();
    setTimeout(() => this.#poll(), EVERY);
  }

  async refresh() {
    try {
      const response = await fetch(`/api/items/${this.item}/seats`);

      if (response.ok)
        this.#show((await response.json()).seats);
    } catch {
      // the next one may get through
    }
  }

  drop() {
    if (this.chosen)
      this.inputs.get(this.chosen).checked = false;
    this.chosen = null;
    this.refresh();
  }

  #show(seats) {
    for (const seat of seats) {
      const input = this.inputs.get(seat.seat) ?? this.#add(seat);
      const free = seat.state === 'free';

      // a chosen seat that is gone is told of at the click
      input.disabled = !free && this.chosen !== seat.seat;
      input.setAttribute('aria-label', `${seat.label}, ${say(free ? 'seatFree' : 'seatTaken')}`);
    }
  }

  #add({ seat, label: name }) {
    const label = document.createElement('label');
    const input = document.createElement('input');
    const text = document.createElement('span');

    input.type = 'radio';
    input.name = 'seat';
    input.value = seat;
    input.addEventListener('change', () => {
      this.chosen = seat;
      this.onChoice();
    });
    text.textContent = name;
    text.setAttribute('aria-hidden', 'true');
    label.append(input, text);
    $('map').append(label);
    this.inputs.set(seat, input);
    return input;
  }
}
