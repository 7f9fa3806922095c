-- What the roles may do with holds and with the lives of wallets.
--
-- A hold is placed and captured without the screening of a transfer, so it is
-- for those who answer for the platform's money: operators, and the backends
-- whose service accounts are granted it one by one.
INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'user', 'hold:read:own'),
    ('default', 'admin', 'hold:read:own'),
    ('default', 'admin', 'hold:*:any'),
    ('default', 'admin', 'wallet:freeze:any'),
    ('default', 'admin', 'wallet:configure:any'),
    ('default', 'support', 'hold:read:any')
ON CONFLICT DO NOTHING;
