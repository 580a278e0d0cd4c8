import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lane } from '../../service/lane.js';

// some turns of the event loop, in which the lane takes off
async function turn() {
  for (let i = 0; i < 3; i++)
    await new Promise((resolve) => setImmediate(resolve));
}

// A database whose calls the test answers: calls are {buyers, answer, fail}
function fake() {
  const calls = [];

  return {
    calls,
    call(buyers) {
      return new Promise((resolve, reject) => {
        calls.push({
          buyers,
          users: buyers.map(({ user }) => user),
          answer: (outcome = 'sold') => resolve(buyers.map(({ user }) => (
            { outcome: typeof outcome === 'function' ? outcome(user) : outcome, order_id: user * 10 }))),
          fail: (code) => reject(Object.assign(new Error(code), { code, severity: 'ERROR' })),
        });
      });
    },
  };
}

const buyer = (user) => ({ user, request: `r${user}`, token: null });

test('one call flies, the others travel in the next', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const first = lane.buy(buyer(1));

  await turn();
  assert.deepEqual(calls.map(({ users }) => users), [[1]]);

  const others = [2, 3, 4].map((user) => lane.buy(buyer(user)));

  await turn();
  assert.equal(calls.length, 1);
  calls[0].answer();
  assert.equal((await first).order, 10);
  await turn();
  assert.deepEqual(calls[1].users, [2, 3, 4]);
  calls[1].answer((user) => (user === 3 ? 'sold_out' : 'sold'));
  assert.deepEqual((await Promise.all(others)).map(({ outcome }) => outcome), ['sold', 'sold_out', 'sold']);
});

test('order of answers is order of arrival', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const answered = [];
  const all = Array.from({ length: 30 }, (_, user) => (
    lane.buy(buyer(user)).then(() => answered.push(user))));

  await turn();
  assert.deepEqual(calls[0].users, Array.from({ length: 30 }, (_, i) => i));
  calls[0].answer();
  await Promise.all(all);
  assert.deepEqual(answered, Array.from({ length: 30 }, (_, i) => i));
});

test('a lane takes at most merge', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call, merge: 10 });

  Array.from({ length: 25 }, (_, user) => lane.buy(buyer(user)));
  for (let i = 0; i < 3; i++) {
    await turn();
    calls[i].answer();
  }
  assert.deepEqual(calls.map(({ users }) => users.length), [10, 10, 5]);
});

test('the 2001st is busy at once', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const all = Array.from({ length: 2000 }, (_, user) => lane.buy(buyer(user)));

  assert.deepEqual(await lane.buy(buyer(2000)), { outcome: 'busy' });
  assert.equal(calls.length, 0);
  for (let i = 0; i < 20; i++) {
    await turn();
    calls[i].answer();
  }
  assert.equal((await Promise.all(all)).every(({ outcome }) => outcome === 'sold'), true);
});

test('who waited too long was never sent', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call, patience: 20 });
  const first = lane.buy(buyer(1));

  await turn();

  // the call is on its way all the time
  const late = await lane.buy(buyer(2));

  assert.deepEqual(late, { outcome: 'busy' });
  calls[0].answer();
  await first;
  await turn();
  assert.deepEqual(calls.map(({ users }) => users), [[1]]);
});

test('a failed call is repeated once with the same ids', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const all = [1, 2].map((user) => lane.buy(buyer(user)));

  await turn();
  calls[0].fail('40001');
  await turn();
  assert.deepEqual(calls[1].buyers.map(({ request }) => request), ['r1', 'r2']);
  calls[1].answer();
  assert.deepEqual((await Promise.all(all)).map(({ order }) => order), [10, 20]);

  const again = lane.buy(buyer(3));

  await turn();
  calls[2].fail('57P01');
  await turn();
  calls[3].fail('57P01');
  assert.deepEqual(await again, { outcome: 'uncertain' });
  assert.equal(calls.length, 4);
});

test('a call that was a mistake is not repeated', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const first = lane.buy(buyer(1));

  await turn();
  calls[0].fail('42704');
  await assert.rejects(first, { code: '42704' });
  assert.equal(calls.length, 1);
});

test('a conflict is tried once more, before those who came later', async () => {
  const { calls, call } = fake();
  const lane = new Lane({ call });
  const first = lane.buy(buyer(1));

  await turn();

  const second = lane.buy(buyer(2));

  calls[0].answer('conflict');
  await turn();
  assert.deepEqual(calls[1].users, [1, 2]);
  calls[1].answer((user) => (user === 1 ? 'conflict' : 'sold'));
  assert.deepEqual((await first).outcome, 'conflict');
  assert.deepEqual((await second).outcome, 'sold');
});
