/** Every command that writes records what it did, in its own transaction: if the record cannot be written, nothing is. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resendVerification } from '../../src/auth/accounts.commands.ts';
import { forgotPassword } from '../../src/auth/password.commands.ts';
import { deleteRetiredKeys, ensureKeys } from '../../src/keys/keys.commands.ts';
import { endSessions, withdrawConsent } from '../../src/sessions/sessions.commands.ts';
import { anonymous, auditedCommands, openWorld, personal, user, type World } from '../support/audited-commands.ts';
import { dumpTables } from '../support/dump.ts';
import { startServer } from '../support/server.ts';

let world: World;
beforeAll(async () => {
  world = openWorld(await startServer());
});
afterAll(() => world.server.stop());

/** Everything that a command could change; the queues change by themselves, so of a job only its being there counts. */
const snapshot = async () => ({
  ...(await dumpTables(world.db, ['public'])),
  jobs: await world.db('pgboss.job').whereIn('name', ['mail', 'backchannel-logout']).orderBy('id').pluck('id'),
});

describe('a command that writes', () => {
  for (const [title, arrange] of Object.entries(auditedCommands))
    it(`${title}: is recorded as it was, or has not happened`, async () => {
      const { run, expected } = await arrange(world);
      const before = await snapshot();
      await world.db.raw('alter table audit_logs add constraint broken check (false) not valid');
      try {
        await expect(run()).rejects.toThrow(/broken/);
      } finally {
        await world.db.raw('alter table audit_logs drop constraint broken');
      }
      expect(await snapshot()).toEqual(before);

      const known = new Set(await world.db('auditLogs').pluck('id'));
      const result = await run();
      const rows = (await world.db('auditLogs').orderBy('id')).filter(({ id }) => !known.has(id));
      expect(rows).toHaveLength(expected(result as never).length);
      expect(rows).toEqual(
        expect.arrayContaining(
          expected(result as never).map(({ action, actor, target, meta = {} }) =>
            expect.objectContaining({
              action,
              actorType: actor[0],
              actorId: actor[1] ?? null,
              targetType: target?.[0] ?? null,
              targetId: target?.[1] ?? null,
              meta,
              ...(actor[0] === 'anonymous' || actor[0] === 'user'
                ? { address: anonymous.address, requestId: anonymous.requestId }
                : {}),
            }),
          ),
        ),
      );
      for (const text of personal) expect(JSON.stringify(rows)).not.toContain(text);
      expect(await snapshot()).not.toEqual(before);
    });

  it('is not recorded when it changed nothing', async () => {
    const { db, queueLogout } = world;
    const { id } = await world.registerVerified();
    const before = await snapshot();
    await forgotPassword(world.server.app.accounts, anonymous, 'nobody@example.com');
    await resendVerification(world.server.app.accounts, anonymous, 'nobody@example.com');
    expect(await withdrawConsent(db, user(id), id, 'no such client')).toBe(false);
    expect(await endSessions(db, user(id), { userId: id, reason: 'x' }, queueLogout)).toBe(0);
    expect(await deleteRetiredKeys(db, 86_400)).toBe(0);
    await ensureKeys(db, world.server.app.secrets);
    expect(await snapshot()).toEqual(before);
  });
});

describe('the audit log', () => {
  for (const statement of [
    `update audit_logs set action = 'x'`,
    'delete from audit_logs',
    'truncate audit_logs',
    'truncate audit_logs cascade',
  ])
    it(`refuses: ${statement}`, async () => {
      const before = await world.db('auditLogs').orderBy('id');
      expect(before.length).toBeGreaterThan(0);
      await expect(world.db.raw(statement)).rejects.toThrow(/append-only/);
      expect(await world.db('auditLogs').orderBy('id')).toEqual(before);
    });
});
