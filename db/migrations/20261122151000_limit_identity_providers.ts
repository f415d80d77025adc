/** What whoever wrote an identity provider could pass on: it signs in nobody who may do more. Of older rows their rank alone says. */

export const up = ['alter table identity_providers add column permissions jsonb'];

export const down = ['alter table identity_providers drop column permissions'];
