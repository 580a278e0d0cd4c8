SELECT seckill_buy(1006, :user, 'cache');
