/** Sign-ins with how risky each was and why, which later ones of the same person are compared with. */

export const up = [
  // client_id and session_uid refer to what may be gone before the row is. token_hash is of the mailed link that ends the session.
  `create table sign_ins (
    id uuid constraint sign_ins_pkey primary key,
    user_id uuid not null constraint sign_ins_user_id_fkey references users on delete cascade,
    session_uid text,
    client_id text,
    outcome text not null constraint sign_ins_outcome_check check (outcome in ('allow', 'step-up', 'refuse')),
    score integer not null constraint sign_ins_score_check check (score between 0 and 100),
    factors jsonb not null,
    amr text[] not null default '{}',
    address text,
    network text,
    country text,
    city text,
    latitude double precision,
    longitude double precision,
    user_agent text,
    device_hash text,
    token_hash text constraint sign_ins_token_hash_key unique,
    disowned_at timestamptz,
    voided_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  'create index sign_ins_user_id_created_at_idx on sign_ins (user_id, created_at, id)',
  'create index sign_ins_created_at_idx on sign_ins (created_at)',
];

export const down = ['drop table sign_ins'];
