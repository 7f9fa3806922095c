-- What the roles may do with bonus money, with the ledger's reports and proofs,
-- and with accounts at providers.
INSERT INTO role_permissions (tenant_id, role, permission)
SELECT 'default', role, permission
FROM unnest(ARRAY['user', 'admin']) AS role,
    unnest(ARRAY[
        'bonus:read:own',
        'bonus:convert:own',
        'ledger:prove:own'
    ]) AS permission
ON CONFLICT DO NOTHING;

INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'admin', 'bonus:*:any'),
    ('default', 'admin', 'bonus_campaign:*:any'),
    ('default', 'admin', 'ledger:*:any'),
    ('default', 'support', 'bonus:read:any'),
    ('default', 'support', 'bonus_campaign:read:any'),
    ('default', 'support', 'wallet:read_account:any')
ON CONFLICT DO NOTHING;
