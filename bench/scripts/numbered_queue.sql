SELECT seckill_buy(:item, :user, 'queue');
