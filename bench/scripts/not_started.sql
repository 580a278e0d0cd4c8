SELECT seckill_buy(1003, :user, 'cache');
