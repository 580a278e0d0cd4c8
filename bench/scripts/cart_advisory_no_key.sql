BEGIN;
INSERT INTO rival.our_cart_no_key VALUES (:item, :user);
SELECT seckill_buy(:item, :user, 'advisory');
COMMIT;
