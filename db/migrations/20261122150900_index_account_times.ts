/** Lists of accounts of a period are ordered by when the accounts were made: ids of those that came from elsewhere do not say it. */
export const up = ['create index users_created_at_id_idx on users (created_at, id)', 'drop index users_created_at_idx'];

export const down = ['create index users_created_at_idx on users (created_at)', 'drop index users_created_at_id_idx'];
