/** What was there fits, since names have only become more: reading them all needs no lock of its own. */

export const up = ['alter table permissions validate constraint permissions_name_check'];

export const down = [];
