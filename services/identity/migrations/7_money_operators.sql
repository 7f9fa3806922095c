-- What the roles may do with refunds, bulk transfers, reviews and reconciliation.
--
-- Users send back what they were paid and transfer in bulk from their own
-- wallets. Refunding for others, resolving reviews and reconciling decide about
-- other people's money, so they are the operators'.
INSERT INTO role_permissions (tenant_id, role, permission)
SELECT 'default', role, permission
FROM unnest(ARRAY['user', 'admin']) AS role,
    unnest(ARRAY[
        'refund:*:own',
        'bulk_transfer:*:own'
    ]) AS permission
ON CONFLICT DO NOTHING;

INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'admin', 'refund:*:any'),
    ('default', 'admin', 'transaction:explain:any'),
    ('default', 'admin', 'review:*:any'),
    ('default', 'admin', 'reconciliation:*:any'),
    ('default', 'support', 'transaction:explain:any'),
    ('default', 'support', 'bulk_transfer:read:any'),
    ('default', 'support', 'review:list:any'),
    ('default', 'support', 'reconciliation:read:any')
ON CONFLICT DO NOTHING;
