// The shapes of what the API takes and gives.

const id = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER };
const time = { type: ['string', 'null'], format: 'date-time' };
const orderState = { type: 'string', enum: ['pending', 'confirmed', 'cancelled', 'expired'] };

function object(name, properties, required = Object.keys(properties)) {
  return { $id: name, type: 'object', required, properties };
}

// What a numbered unit is worth; null: nothing, or not told yet.
const unit = {
  type: 'object',
  nullable: true,
  properties: {
    unit: { type: ['integer', 'null'] },
    code: { type: ['string', 'null'] },
    prize: { type: ['integer', 'null'] },
    amount: { type: ['integer', 'null'], description: 'in fen' },
  },
};

export const SCHEMAS = [
  object('item-params', { item: id }),
  object('order-params', { item: id, order: id }),
  object('problem', {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    outcome: { type: 'string' },
  }, ['type', 'title', 'status']),
  object('item', {
    item: id,
    state: { type: 'string', enum: ['upcoming', 'on_sale', 'sold_out', 'ended'] },
    left: { type: 'integer' },
    starts_at: time,
    ends_at: time,
    limit: { type: ['integer', 'null'] },
    pay_within: { type: ['integer', 'null'] },
  }),
  object('session', { user: id, name: { type: 'string' } }),
  object('pass', { token: { type: 'string' }, expires_at: { type: 'string', format: 'date-time' } }),
  object('sold', { outcome: { const: 'sold' }, item: id, order: id, unit }, ['outcome', 'item', 'order']),
  object('queued', { outcome: { const: 'queued' }, ticket: { type: 'string' } }),
  object('order', {
    item: id,
    order: id,
    quantity: { type: 'integer' },
    state: orderState,
    pay_by: time,
    amount: { type: 'integer', description: 'in fen' },
    payment: { type: ['string', 'null'], enum: ['open', 'confirmed', 'refund', 'refunded', null] },
    unit,
    seats: { type: 'array', nullable: true, items: { type: 'string' } },
  }),
  object('seats', {
    seats: {
      type: 'array',
      items: {
        type: 'object',
        required: ['seat', 'block', 'label', 'state'],
        properties: {
          seat: { type: 'integer' },
          block: { type: 'integer' },
          label: { type: ['string', 'null'] },
          state: { type: 'string', enum: ['free', 'held', 'taken'] },
        },
      },
    },
  }),
  object('order-state', { state: orderState }),
  object('payment', { location: { type: 'string' } }),
  object('settled', { state: { type: 'string', enum: ['confirmed', 'refund', 'refunded', 'ignored'] } }),
];
