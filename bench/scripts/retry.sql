SELECT seckill_buy(:item, :user, 'retry');
