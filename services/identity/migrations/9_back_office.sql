-- Who adjusts customers' wallets. Bonus money is granted by whoever has `bonus:*:any`.
INSERT INTO role_permissions (tenant_id, role, permission) VALUES
    ('default', 'admin', 'adjustment:create:any')
ON CONFLICT DO NOTHING;
