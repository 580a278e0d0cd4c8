import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock, format } from '../../pages/clock.js';

// A clock whose round trips take these ms, all of them on the way back.
function clockWith(trips, theirs = 1000000) {
  let now = 500;
  const clock = new Clock(async () => {
    const answer = theirs + now;

    now += trips.shift();
    return answer;
  }, () => now);

  return { clock, pass: (ms) => (now += ms), now: () => now };
}

test('takes the offset of the shortest round trip', async () => {
  const { clock, now } = clockWith([400, 10, 300]);

  await clock.sync(3);
  // half of 10 ms off, not half of 400
  assert.equal(clock.now() - (1000000 + now()), -5);
});

test('does not move when Date jumps', async () => {
  const { clock, pass } = clockWith([10, 10, 10]);
  const real = Date.now;

  await clock.sync();

  const before = clock.now();

  Date.now = () => real() + 3600000;
  try {
    pass(1000);
    assert.equal(clock.now() - before, 1000);
  } finally {
    Date.now = real;
  }
});

test('a countdown shows the second that is running', () => {
  assert.equal(format(0), '00:00');
  assert.equal(format(-5), '00:00');
  assert.equal(format(1), '00:01');
  assert.equal(format(59000), '00:59');
  assert.equal(format(3600000 + 61000), '01:01:01');
  assert.equal(format(86400000 * 3 + 5000), '3 d 00:00:05');
});
