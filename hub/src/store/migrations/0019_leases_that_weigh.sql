-- Few leases weigh among all that were ever granted, and each look asks for them; the others are kept for good.
CREATE INDEX leases_weigh ON leases (site, granted_ms) WHERE state <> 'settled';
