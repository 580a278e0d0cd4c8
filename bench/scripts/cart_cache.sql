BEGIN;
INSERT INTO rival.our_cart VALUES (:item, :user);
SELECT seckill_buy(:item, :user, 'cache');
COMMIT;
