SELECT seckill_buy(:item, :user, 'cache');
