/**
 * What people may do by the rows of the tables: the query that reads a person's access, with the decision, compared with a slow and
 * obvious model on random worlds.
 */
import fc from 'fast-check';
import { v7 as uuid } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Db } from '../../db/connect.ts';
import { migrate } from '../../db/migrate.ts';
import { findPaths } from '../../src/organizations/paths.queries.ts';
import { decide, noPolicies } from '../../src/policies/decide.ts';
import { findAccessOfMany, findUserAccess, type UserAccess } from '../../src/roles/access.queries.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { holdingsOf, type ModelWorld, modelMay, wayUp } from '../support/decision-model.ts';
import { questions, worlds } from '../support/decision-worlds.ts';

let database: TestDatabase;
let permissionIds: Map<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  await migrate(database.db);
  // The world brings roles of its own.
  const { db } = database;
  await db.raw('delete from role_permissions');
  await db.raw('update roles set name = name || id where name = ?', ['manager']);
  permissionIds = new Map();
});
afterAll(async () => {
  await database?.close();
  await database?.drop();
});

const permissionId = async (db: Db, name: string): Promise<string> => {
  const known = permissionIds.get(name);
  if (known) return known;
  await db('permissions').insert({ name }).onConflict('name').ignore();
  const { id } = await db('permissions').where({ name }).first('id');
  permissionIds.set(name, id);
  return id;
};

const clear = async (db: Db) => {
  for (const table of [
    ...['permission_grants', 'role_grants', 'group_members', 'organization_members', 'groups', 'organizations'],
    ...['users', 'role_permissions', 'role_inheritance'],
  ])
    await db.raw(`delete from ${table}`);
  await db.raw(`delete from roles where id::text like '00000004-%'`);
};

const fill = async (db: Db, world: ModelWorld) => {
  const insert = async (table: string, rows: readonly object[]) => {
    for (const row of rows) await db(table).insert(row);
  };
  await insert('roles', world.roles);
  await insert('roleInheritance', world.inheritance);
  await insert(
    'users',
    world.users.map((user) => ({ ...user, email: `${user.id}@example.com`, name: 'Ada' })),
  );
  await insert(
    'organizations',
    world.organizations.map((one) => ({ ...one, name: one.id })),
  );
  await insert('organizationMembers', world.members);
  await insert(
    'groups',
    world.groups.map((one) => ({ ...one, name: one.id })),
  );
  await insert('groupMembers', world.groupMembers);
  for (const { roleId, name } of world.rolePermissions)
    await insert('rolePermissions', [{ roleId, permissionId: await permissionId(db, name) }]);
  await insert(
    'roleGrants',
    world.roleGrants.map((grant) => ({ id: uuid(), ...grant })),
  );
  for (const { name, ...grant } of world.permissionGrants)
    await insert('permissionGrants', [{ id: uuid(), ...grant, permissionId: await permissionId(db, name) }]);
};

/** In an order of its own, and without what depends on the moment. */
const told = (access: UserAccess | undefined) =>
  access && {
    ...access,
    changesInMs: 0,
    permissions: access.permissions.toSorted(),
    grants: access.grants.map((one) => JSON.stringify(one)).sort(),
    organizations: access.organizations.map((one) => ({ ...one, permissions: one.permissions.toSorted() })),
  };

it('the query and the decision say what the model says', async () => {
  const { db } = database;
  let asked = 0;
  await fc.assert(
    fc.asyncProperty(worlds(), fc.array(questions, { minLength: 12, maxLength: 12 }), async (world, all) => {
      await clear(db);
      await fill(db, world);
      const now = new Date();
      const everybody = await findAccessOfMany(
        db,
        world.users.map(({ id }) => id),
      );
      for (const { id } of world.users) {
        const access = await findUserAccess(db, id);
        expect(told(everybody.get(id))).toEqual(told(access));
        expect(access?.rank).toBe(holdingsOf(world, id, now).rank);
      }
      for (const { id } of world.organizations)
        expect(await findPaths(db, 'organization', id)).toEqual([wayUp(world, id)]);
      for (const question of all) {
        const subject = everybody.get(question.userId);
        if (!subject) throw new Error('nobody is there');
        const { userId, type, action, owner, organizations, every } = question;
        const decision = decide(
          {
            subject: { type: 'user', id: userId },
            action,
            resource: { type, owner, organizations: organizations.map((id) => wayUp(world, id)), every },
          },
          { subject, policiesFor: noPolicies },
        );
        expect([question, decision.allowed]).toEqual([question, modelMay(world, question, [], now)]);
        asked++;
        const { because } = decision;
        if (because.rule !== 'permission' && because.rule !== 'denial') continue;
        // Whatever is held comes from somewhere, and that is named.
        expect(subject.grants).toContainEqual(
          expect.objectContaining({
            permission: because.granted,
            effect: decision.allowed ? 'allow' : 'deny',
            ...(because.organizationId ? { organizationId: because.organizationId } : {}),
          }),
        );
      }
    }),
    { numRuns: 40, endOnFailure: true },
  );
  expect(asked).toBeGreaterThanOrEqual(40 * 12);
}, 180_000);
