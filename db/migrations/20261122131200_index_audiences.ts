/** Audiences that clients name are looked through for each token for an API that is not known here: few clients name one. */

export const up = [
  'create index clients_audience_idx on clients (audience) where audience is not null',
  'create index clients_token_exchange_idx on clients (client_id) where token_exchange is not null',
];

export const down = ['drop index clients_audience_idx', 'drop index clients_token_exchange_idx'];
