SELECT rival.book_skip_locked(:item, :user, :from::int, :to::int);
