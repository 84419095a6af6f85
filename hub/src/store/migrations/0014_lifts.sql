-- Holds that one person wants lifted and a second one must confirm; one of a dispatch at a time.
CREATE TABLE lift_proposals (
  dispatch TEXT PRIMARY KEY,
  says TEXT NOT NULL             -- which holds, who, why and when
);
