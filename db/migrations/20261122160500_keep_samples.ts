/** Numbers for `/metrics` that one replica counts for all. */
export const up = [
  `create table samples (
     name text constraint samples_pkey primary key,
     value jsonb not null,
     at timestamptz not null
   )`,
];

export const down = ['drop table samples'];
