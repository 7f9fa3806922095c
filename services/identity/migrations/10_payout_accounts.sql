-- What the roles may do with payout accounts.
--
-- Users register where they are paid out, see it and archive it. Nobody does so for
-- somebody else: operators and support may look.
INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'user', 'payout_account:*:own'),
    ('default', 'admin', 'payout_account:*:own'),
    ('default', 'admin', 'payout_account:read:any'),
    ('default', 'support', 'payout_account:read:any')
ON CONFLICT DO NOTHING;
