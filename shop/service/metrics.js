// Counters and health, for the operators' port: nginx does not serve these paths
// to the public.

import prom from 'prom-client';

export function makeMetrics() {
  const registry = new prom.Registry();
  const registers = [registry];

  prom.collectDefaultMetrics({ register: registry });

  const metrics = {
    registry,
    statements: new prom.Counter({
      name: 'shop_statements_total', help: 'statements sent to the database', labelNames: ['name'], registers,
    }),
    outcomes: new prom.Counter({
      name: 'shop_outcomes_total', help: 'answers to purchases', labelNames: ['outcome'], registers,
    }),
    batch: new prom.Histogram({
      name: 'shop_lane_buyers',
      help: 'buyers in a merged call',
      buckets: [1, 2, 5, 10, 20, 50, 100],
      registers,
    }),
    refunds: new prom.Counter({ name: 'shop_refunds_total', help: 'payments sent back', registers }),
    waiting(count) {
      return new prom.Gauge({
        name: 'shop_lane_waiting', help: 'buyers that wait for a call', registers,
        collect() {
          this.set(count());
        },
      });
    },
    streams(count) {
      return new prom.Gauge({
        name: 'shop_streams', help: 'open event streams', registers,
        collect() {
          this.set(count());
        },
      });
    },
  };

  return metrics;
}

export default async function routes(app, { database, items, metrics }) {
  metrics.streams(() => items.open);

  app.get('/metrics', { schema: { hide: true } }, async (request, reply) => {
    reply.type(metrics.registry.contentType);
    return metrics.registry.metrics();
  });

  app.get('/health', { schema: { hide: true } }, async (request, reply) => {
    const state = app.draining() ? 'draining' :
      await database.alive().then(() => 'ready', () => 'database away');

    reply.code(state === 'ready' ? 200 : 503);
    return { state };
  });
}
