-- A wallet's holds, newest first. None of the columns ever changes, so ending a
-- hold does not touch this index.
CREATE INDEX holds_wallet ON holds (wallet_id, placed_at DESC, id DESC);
