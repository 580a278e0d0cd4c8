import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { OUTCOMES, PROBLEMS, problemOf } from '../../service/problem.js';

const read = (name) => fs.readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8');

test('every outcome of the type has a status', () => {
  const [, labels] = /CREATE TYPE @extschema@\.seckill_outcome AS ENUM \(([^)]*)\)/
    .exec(read('seckill--1.0.sql'));
  const outcomes = [...labels.matchAll(/'(\w+)'/g)].map(([, label]) => label);

  assert.ok(outcomes.length >= 11);
  for (const outcome of outcomes)
    assert.ok(OUTCOMES[outcome]?.status >= 200, `no status for ${outcome}`);
});

test('every SQLSTATE of the reference has one', () => {
  const [, table] = /^## Errors\n([^]*?)^## /m.exec(read('docs/reference.md'));
  const states = [...table.matchAll(/^\| ([0-9A-Z, ]+) \|/gm)].flatMap(([, list]) => list.split(', '));

  assert.ok(states.length > 30);
  for (const code of states) {
    const name = problemOf({ code, severity: 'ERROR', message: '' });

    assert.ok((OUTCOMES[name] ?? PROBLEMS[name])?.status >= 400, `${code}: ${name}`);
  }
});

test('errors that buyers can meet are told apart', () => {
  const name = (code, severity = 'ERROR') => problemOf({ code, severity, message: '' });

  assert.equal(name('42704'), 'not-found');
  assert.equal(name('22023'), 'bad-request');
  assert.equal(name('25006'), 'unavailable');
  assert.equal(name('08P01', 'FATAL'), 'unavailable');
  assert.equal(name('57P03', 'FATAL'), 'unavailable');
  assert.equal(name('57014'), 'uncertain');
  assert.equal(name('SK003'), 'expired');
  assert.equal(name('42501'), 'internal');
  assert.equal(problemOf(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })), 'unavailable');
  assert.equal(problemOf(new Error('Connection terminated unexpectedly')), 'unavailable');
  assert.equal(problemOf(new TypeError('x')), 'internal');
});
