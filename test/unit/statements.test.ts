/** What metrics and spans say of a statement, and why one failed. */
import { expect, it } from 'vitest';
import { errorClass, readStatement } from '../../src/metrics/statements.ts';

it.each([
  ['select "id" from "users" where "id" = $1', 'select users'],
  ['  SELECT count(*) FROM only sessions', 'select sessions'],
  ['insert into "audit_logs" ("id") values ($1)', 'insert audit_logs'],
  ['update users set name = $1', 'update users'],
  ['delete from grants where id = $1', 'delete grants'],
  ['with used as (update refresh_tokens set consumed_at = now()) select 1', 'update refresh_tokens'],
  ['with recursive above as (select id from organizations) select * from above', 'select organizations'],
  ['select * from pgboss.job', 'select pgboss'],
  ['select * from somebody_elses', 'select other'],
  ['select 1', 'select none'],
  ['BEGIN;', 'transaction none'],
  ['savepoint one', 'transaction none'],
  ['set statement_timeout = 0', 'other none'],
])('%s is %s', (sql, expected) => {
  const { operation, table } = readStatement(sql);
  expect(`${operation} ${table}`).toBe(expected);
});

it.each([
  ['08006', '08'],
  ['57014', '57'],
  ['23505', '23'],
  ['42601', 'other'],
  ['ECONNREFUSED', 'connection'],
  ['EPIPE', 'connection'],
  [undefined, 'other'],
])('a failure with the code %s is of the class %s', (code, expected) => {
  expect(errorClass(Object.assign(new Error('refused'), { code }))).toBe(expected);
});
