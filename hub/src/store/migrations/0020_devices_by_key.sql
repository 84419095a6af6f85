-- Whose key it is, asked for at each enrolment and each device that is listed.
CREATE INDEX devices_by_key ON devices (public_key);
