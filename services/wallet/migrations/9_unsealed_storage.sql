-- Hashes and random ids do not get smaller; trying costs each batch more than
-- the rest of the row.
ALTER TABLE ledger_unsealed
    ALTER posting_ids SET STORAGE EXTERNAL,
    ALTER leaf_hashes SET STORAGE EXTERNAL,
    ALTER wallet_ids SET STORAGE EXTERNAL;
