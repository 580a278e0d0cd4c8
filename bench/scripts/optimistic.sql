SELECT seckill_buy(:item, :user, 'optimistic');
