SELECT rival.take_one(:item);
