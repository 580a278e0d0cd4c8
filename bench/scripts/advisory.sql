SELECT seckill_buy(:item, :user, 'advisory');
