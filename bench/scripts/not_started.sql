SELECT seckill_buy(3, :client_id, 'cache');
