SELECT seckill_buy(:item, :user, 'pessimistic');
