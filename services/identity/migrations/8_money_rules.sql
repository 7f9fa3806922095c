-- What the roles may do with fees, quotes, exchange rates, limits, fraud rules and
-- schedules.
--
-- Users ask what a movement costs, plan movements of their own and see their own
-- limits. The rules themselves are the operators'; support may read them.
INSERT INTO role_permissions (tenant_id, role, permission)
SELECT 'default', role, permission
FROM unnest(ARRAY['user', 'admin']) AS role,
    unnest(ARRAY[
        'quote:*:own',
        'schedule:*:own',
        'limit:read:own'
    ]) AS permission
ON CONFLICT DO NOTHING;

INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'admin', 'fee:*:any'),
    ('default', 'admin', 'fx:*:any'),
    ('default', 'admin', 'limit:*:any'),
    ('default', 'admin', 'fraud:*:any'),
    ('default', 'admin', 'schedule:*:any'),
    ('default', 'support', 'fee:read:any'),
    ('default', 'support', 'limit:read:any'),
    ('default', 'support', 'fraud:read:any'),
    ('default', 'support', 'schedule:read:any')
ON CONFLICT DO NOTHING;
