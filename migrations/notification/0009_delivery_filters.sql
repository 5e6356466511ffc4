-- Administrators look for what went to an address, for one template, and for what did not get out. What was
-- sent is found by time: nearly all is.
CREATE INDEX deliveries_address_idx ON notification.deliveries (lower(address), created_at, id);
CREATE INDEX deliveries_template_idx ON notification.deliveries (template, created_at, id);
CREATE INDEX deliveries_unsent_idx ON notification.deliveries (status, created_at, id)
    WHERE status <> 'sent';
