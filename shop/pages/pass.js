// The proof of work, by the altcha widget, and the pass that it buys.

import './zh-cn.js';
import './altcha.js';
import { $, call, texts } from './api.js';

// one worker each: a phone has other things to do
$altcha.algorithms.set('PBKDF2/SHA-256', () => new Worker(new URL('./pbkdf2.js', import.meta.url)));

export class Pass {
  constructor(item, clock, onChange) {
    Object.assign(this, { item, clock, onChange });
    this.token = null;
    this.expires = 0;
    this.widget = null;
    this.error = null;
    this.retryAt = 0;
  }

  get valid() {
    return this.token !== null && this.clock.now() < this.expires;
  }

  // Is it time to make one?  Called whenever the page is drawn.
  ensure() {
    if (this.valid || this.widget || this.clock.now() < this.retryAt)
      return;
    this.widget = document.createElement('altcha-widget');
    this.widget.setAttribute('challenge', `/api/items/${this.item}/challenge`);
    this.widget.setAttribute('auto', 'onload');
    this.widget.setAttribute('language', texts.language === 'zh' ? 'zh-cn' : 'en');
    this.widget.setAttribute('configuration', JSON.stringify({
      hideLogo: true,
      hideFooter: true,
      minDuration: 0,
      workers: 2,
      humanInteractionSignature: false,
    }));
    this.widget.addEventListener('statechange', ({ detail }) => {
      if (detail.state === 'verified')
        this.#exchange(detail.payload);
      else if (detail.state === 'error' || detail.state === 'expired')
        this.#fail(2000);
    });
    $('check').replaceChildren(this.widget);
  }

  drop() {
    this.token = null;
    this.#remove();
  }

  #remove() {
    this.widget?.remove();
    this.widget = null;
  }

  async #exchange(altcha) {
    const { status, body, after } = await call('POST', `/api/items/${this.item}/pass`, { body: { altcha } });

    if (status !== 201)
      return this.#fail(Math.max(after, 1000));
    this.token = body.token;
    this.expires = Date.parse(body.expires_at) - 5000;
    this.error = null;
    this.#remove();
    this.onChange();
  }

  #fail(wait) {
    this.error = 'checkFailed';
    this.retryAt = this.clock.now() + wait;
    this.#remove();
    this.onChange();
  }
}
