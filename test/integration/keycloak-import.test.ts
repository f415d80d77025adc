/** `countersign import keycloak`: what becomes of a realm, that doing it again changes nothing, and what it says it could not do. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/commands.ts';
import { KeycloakUser, Realm } from '../../src/keycloak/realm.ts';
import { readRealm, readUsers } from '../../src/keycloak/realm-file.ts';
import { createReporter, type ImportReport, type NoteCode } from '../../src/keycloak/report.ts';
import { planGroups, planRoles } from '../../src/keycloak/roles.ts';
import { type PlannedUser, planUser } from '../../src/keycloak/users.ts';
import { findUserAccess } from '../../src/roles/access.queries.ts';
import { openPii } from '../../src/users/pii.ts';
import { shownCode } from '../support/authenticator.ts';
import { Browser, password } from '../support/browser.ts';
import { nobody, type TestCaller } from '../support/callers.ts';
import { dumpTables } from '../support/dump.ts';
import { throughPeer, whoIsSignedIn } from '../support/federation.ts';
import {
  argon2Credential,
  keycloakRealm,
  keycloakUser,
  oldCredential,
  otpCredential,
  passkeyCredential,
  pbkdf2Credential,
  writeRealm,
} from '../support/keycloak-realm.ts';
import { signIn } from '../support/requests.ts';
import { startServer, type TestServer } from '../support/server.ts';
import { startOpenIdPeer } from '../support/upstreams/openid-peer.ts';

let server: TestServer;
let anybody: TestCaller;
beforeAll(async () => {
  server = await startServer();
  anybody = nobody(server);
});
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await server.stop();
});

const scratch = mkdtempSync(join(tmpdir(), 'countersign-realms-'));
const newFolder = () => mkdtempSync(join(scratch, 'realm-'));

const db = () => server.database.db;
const command = commands['import keycloak'] as NonNullable<(typeof commands)[string]>;

const importFrom = async (path: string, ...flags: string[]): Promise<ImportReport> => {
  const values = { path, ...Object.fromEntries(flags.map((flag) => [flag, true])) };
  return (await command.run(server.app, command.read(values))) as ImportReport;
};
const importRealm = (realm: object, ...flags: string[]) => importFrom(writeRealm(realm), ...flags);

const note = ({ notes }: ImportReport, code: NoteCode) => notes.find((one) => one.code === code);
const dump = async () => {
  const { 'public.audit_logs': _, ...tables } = await dumpTables(db(), ['public']);
  return tables;
};
const unique = (name: string) => `${name}-${randomUUID().slice(0, 8)}`;
const findUser = (username: string) =>
  db()('users')
    .where({ email: `${username}@example.com` })
    .first();
const rolesOf = async (userId: string): Promise<string[]> => {
  const rows: { name: string }[] = await db()('roleGrants')
    .join('roles', 'roles.id', 'roleGrants.roleId')
    .where({ userId })
    .select('roles.name');
  return rows.map(({ name }) => name).sort();
};
/** Those of their groups too. */
const heldBy = async (userId: string): Promise<string[]> => (await findUserAccess(db(), userId))?.roles ?? [];
const withoutGroupRoles = ({ groupRoles: _, ...user }: PlannedUser) => user;
/** What an import makes of the users of a file. */
const plannedUsers = async (path: string): Promise<PlannedUser[]> => {
  const realm = Realm.parse(await readRealm(path));
  const reporter = createReporter(realm.realm, true);
  const roles = planRoles(realm, reporter);
  const groups = new Map(planGroups(realm, roles, reporter).map((group) => [group.path, group]));
  const context = { roles, groups, linksWith: () => false, passkeys: false, reporter };
  const users: PlannedUser[] = [];
  for await (const text of readUsers(path))
    users.push(planUser(KeycloakUser.parse(JSON.parse(text)), context) as PlannedUser);
  return users;
};
const signInAs = (username: string, text = password) =>
  signIn(new Browser(server.issuer), `${username}@example.com`, text);

describe('a password of Keycloak', () => {
  for (const [name, make] of Object.entries({
    'PBKDF2 with SHA-1': () => pbkdf2Credential('pbkdf2'),
    'PBKDF2 with SHA-256': () => pbkdf2Credential('pbkdf2-sha256'),
    'PBKDF2 with SHA-512': () => pbkdf2Credential('pbkdf2-sha512'),
    'PBKDF2 as it was before version 9': () => oldCredential(),
    argon2: () => argon2Credential(),
    'one in clear': () => ({ type: 'password', value: password }),
  }))
    it(`signs in, and is hashed anew: ${name}`, async () => {
      const username = unique('ada');
      const report = await importRealm(
        keycloakRealm({ users: [keycloakUser(username, { credentials: [await make()] })] }),
      );
      expect([report.counts.users, report.also.passwords]).toEqual([
        { created: 1, updated: 0, unchanged: 0, 'left out': 0 },
        1,
      ]);
      expect((await signInAs(username, 'not that password at all')).status).toBe(401);
      expect((await signInAs(username)).url.pathname).toBe('/account');
      expect((await findUser(username)).passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    });

  for (const [name, members, code] of [
    ['that had to be changed', { requiredActions: ['UPDATE_PASSWORD'] }, 'password-temporary'],
    [
      'that was temporary',
      { credentials: [{ type: 'password', value: password, temporary: true }] },
      'password-temporary',
    ],
    ['of an unknown kind', { credentials: [{ ...oldCredential(), algorithm: 'md5' }] }, 'password-unknown'],
    ['that takes for ever', { credentials: [{ ...oldCredential(), hashIterations: 99_000_000 }] }, 'password-unknown'],
    ['of which there is nothing', { credentials: [{ ...oldCredential(), hashedSaltedValue: '' }] }, 'password-unknown'],
    ['that a directory has', { credentials: [], federationLink: 'ldap' }, 'password-federated'],
    ['that does not exist', { credentials: [] }, 'password-none'],
  ] as const)
    it(`does not come over, and is reported: one ${name}`, async () => {
      const username = unique('ada');
      const users = [keycloakUser(username, { credentials: [pbkdf2Credential('pbkdf2-sha256')], ...members })];
      expect(note(await importRealm(keycloakRealm({ users })), code)?.items).toEqual([username]);
      expect((await findUser(username)).passwordHash).toBeNull();
      expect((await signInAs(username)).status).toBe(401);
    });
});

describe('a second factor of Keycloak', () => {
  const signInOverRest = (username: string) =>
    anybody.request('post', '/auth/login', { email: `${username}@example.com`, password });

  it('an authenticator app goes on working, and a code works once', async () => {
    const username = unique('ada');
    const user = keycloakUser(username, {
      credentials: [pbkdf2Credential('pbkdf2-sha256'), otpCredential('kC0m2V1b3qHq7W3S5r9w')],
    });
    expect((await importRealm(keycloakRealm({ users: [user] }))).also['authenticator apps']).toBe(1);
    const { json } = await signInOverRest(username);
    expect(json).toMatchObject({ code: 'mfa_required', methods: ['totp'] });
    // Keycloak's key is the text itself; apps were shown it in base 32.
    const bits = [...Buffer.from('kC0m2V1b3qHq7W3S5r9w')].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    const secret = (bits.match(/.{5}/g) ?? []).map(
      (five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(five, 2)],
    );
    const code = shownCode(secret.join(''));
    const finish = (mfaToken: string) => anybody.request('post', '/auth/mfa/verify', { mfaToken, code });
    expect((await finish(json.mfaToken)).status).toBe(200);
    const again = await signInOverRest(username);
    expect((await finish(again.json.mfaToken)).status).not.toBe(200);
  });

  it('algorithm, digits and period are kept; what cannot work is reported', async () => {
    const [good, odd, hotp] = ['good', 'odd', 'hotp'].map(unique) as [string, string, string];
    const base32 = { secretEncoding: 'BASE32', algorithm: 'HmacSHA256', digits: 8, period: 60 };
    const users = [
      keycloakUser(good, { credentials: [otpCredential('JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', base32)] }),
      keycloakUser(odd, { credentials: [otpCredential('kC0m2V1b3qHq7W3S5r9w', { digits: 7 })] }),
      keycloakUser(hotp, { credentials: [otpCredential('kC0m2V1b3qHq7W3S5r9w', { subType: 'hotp' })] }),
    ];
    const report = await importRealm(keycloakRealm({ users }));
    const { id } = await findUser(good);
    const row = await db()('totpDevices').where({ userId: id }).first();
    expect(row).toMatchObject({ algorithm: 'SHA256', digits: 8, periodSeconds: 60, name: 'My phone' });
    const secret = server.app.secrets.open('totp', row.id, row.secretEncrypted);
    expect(secret.toString('hex')).toBe('48656c6c6f21deadbeef48656c6c6f21deadbeef');
    expect(note(report, 'totp-unusable')?.items).toEqual([odd]);
    expect(note(report, 'hotp')?.items).toEqual([hotp]);
  });

  it('a passkey signs in at the same host, by itself too, and is reported for another one', async () => {
    const username = unique('ada');
    const user = keycloakUser(username);
    const { key, credential } = passkeyCredential(server.issuer, user.id, 'webauthn-passwordless');
    user.credentials.push(credential);
    const realm = keycloakRealm({ users: [user] });
    expect(note(await importRealm(realm, 'dry-run'), 'passkey-elsewhere')?.items).toEqual([username]);
    expect((await importRealm({ ...realm, webAuthnPolicyRpId: 'localhost' }, 'dry-run')).also.passkeys).toBe(1);
    expect((await importRealm(realm, 'passkeys')).also.passkeys).toBe(1);

    const signInWith = async (lies: object = {}) => {
      const { json } = await anybody.request('post', '/auth/passkey/options', {});
      return anybody.request('post', '/auth/passkey/verify', { credential: key.get(json.options, lies) });
    };
    expect((await signInWith({ userHandle: Buffer.from(randomUUID()).toString('base64url') })).status).not.toBe(200);
    const answer = await signInWith();
    expect([answer.status, answer.status === 200 || answer.text]).toEqual([200, true]);
    // What could not be known before the first use is fixed by it.
    expect(await db()('passkeys').where({ userId: user.id }).first()).toMatchObject({
      backupEligible: false,
      name: 'Yellow key',
      discoverable: true,
    });
    expect((await signInWith({ backupEligible: true })).status).not.toBe(200);
  });
});

describe('a person of Keycloak', () => {
  it('keeps the id, name, address, language, profile and attributes; the username becomes preferred_username', async () => {
    const username = unique('ada');
    const user = keycloakUser(username, {
      attributes: {
        locale: ['de'],
        phoneNumber: ['+4930901820'],
        birthdate: ['1815-12-10'],
        website: ['javascript:alert(1)'],
        street: ['12 Square'],
        department: ['Engines', 'Looms'],
      },
    });
    const report = await importRealm(keycloakRealm({ users: [user] }));
    const row = await findUser(username);
    expect(row).toMatchObject({ id: user.id, name: `${user.firstName} Lovelace`, locale: 'de', status: 'active' });
    expect(row.emailVerifiedAt).not.toBeNull();
    expect(openPii(server.app.secrets, row)).toEqual({
      given_name: user.firstName,
      family_name: 'Lovelace',
      preferred_username: username,
      phone_number: '+4930901820',
      birthdate: '1815-12-10',
      address: { street_address: '12 Square' },
      attributes: { website: ['javascript:alert(1)'], department: ['Engines', 'Looms'] },
    });
    expect(note(report, 'user-username')?.items).toEqual([username]);
    expect(note(report, 'attribute-kept')?.items).toEqual([`${username}: website department`]);
  });

  it('is left out, or comes over otherwise, and is named', async () => {
    const name = (what: string) => unique(what);
    const [plain, none, odd, twice, off, unproven, late] = [
      ...[name('plain'), name('none'), name('odd'), name('twice'), name('off'), name('unproven'), name('late')],
    ] as [string, string, string, string, string, string, string];
    const users = [
      keycloakUser(plain, { email: `${plain}@EXAMPLE.com` }),
      keycloakUser(none, { email: undefined }),
      keycloakUser(odd, { email: 'not an address' }),
      keycloakUser(twice, { email: `${plain}@example.com` }),
      keycloakUser(off, { enabled: false }),
      keycloakUser(unproven, { emailVerified: false }),
      keycloakUser(late, { requiredActions: ['VERIFY_EMAIL', 'CONFIGURE_TOTP'] }),
      { username: `service-account-${plain}`, serviceAccountClientId: 'shop', realmRoles: ['editor'] },
      { email: 'nobody@example.com' },
      'not a user at all',
      keycloakUser(`nul\u0000${plain}`),
    ];
    const report = await importRealm(keycloakRealm({ users }));
    expect(report.counts.users).toEqual({ created: 4, updated: 0, unchanged: 0, 'left out': 6 });
    for (const [code, items] of [
      ['user-without-email', [none]],
      ['user-bad-email', [odd]],
      ['user-email-taken', [twice]],
      ['user-deactivated', [off]],
      ['user-unverified', [unproven, late]],
      ['action-ignored', [`${late}: CONFIGURE_TOTP`]],
      ['user-unreadable', ['the 9. user', 'the 10. user', 'the 11. user']],
      ['client-service-roles', ['shop']],
    ] as const)
      expect([code, note(report, code)?.items]).toEqual([code, items]);
    expect((await findUser(off)).status).toBe('deactivated');
    expect((await findUser(unproven)).emailVerifiedAt).toBeNull();
    expect(command.exitCode?.(report)).toBe(2);
  });

  it('never takes over an account that is here, whatever its roles', async () => {
    const username = unique('ada');
    const mine = keycloakUser(username);
    await importRealm(keycloakRealm({ users: [mine] }));
    const before = await findUser(username);
    const report = await importRealm(
      keycloakRealm({
        users: [keycloakUser(username, { credentials: [{ type: 'password', value: 'another horse' }] })],
      }),
    );
    expect([report.counts.users['left out'], note(report, 'user-email-taken')?.items]).toEqual([1, [username]]);
    expect(await findUser(username)).toEqual(before);
  });

  it('whose id, links or names the database could not take stops nobody', async () => {
    const [fine, odd] = [keycloakUser(unique('ada')), keycloakUser(unique('bob'))];
    const alias = unique('corp');
    const federatedIdentities = [{ identityProvider: alias, userId: 'a\u0000b', userName: 'x' }];
    const config = { clientId: 'x', clientSecret: 'a secret of GitHub' };
    const users = [
      { ...odd, id: 'a\u0000b', firstName: 'B\u0000b\ud800', attributes: { department: ['\u0000'] } },
      keycloakUser(unique('eve'), { federatedIdentities }),
      fine,
    ];
    const identityProviders = [{ alias, providerId: 'github', config }];
    const report = await importRealm(keycloakRealm({ users, identityProviders }));
    expect([report.counts.users.created, report.counts.users['left out']]).toEqual([2, 1]);
    expect([await findUser(fine.username), await findUser(odd.username)]).toEqual([
      expect.anything(),
      expect.objectContaining({ name: 'Bb Lovelace' }),
    ]);
  });

  it('gets another id when Keycloak’s is somebody’s already', async () => {
    const [first, second] = [keycloakUser(unique('ada')), keycloakUser(unique('bob'))];
    await importRealm(keycloakRealm({ users: [first] }));
    const report = await importRealm(keycloakRealm({ users: [{ ...second, id: first.id }] }));
    expect(note(report, 'user-new-id')?.items).toEqual([second.username]);
    expect((await findUser(second.username)).id).not.toBe(first.id);
  });

  it('does not stop the others when the database refuses them', async () => {
    const [fine, bad] = [keycloakUser(unique('ada')), keycloakUser(unique('bob'))];
    await db().raw(`create function refuse_bob() returns trigger language plpgsql as $$ begin
      if new.name like 'Bob%' then raise exception using errcode = '22000', message = 'no bobs'; end if; return new; end $$`);
    await db().raw('create trigger refuse_bob before insert on users for each row execute function refuse_bob()');
    try {
      const report = await importRealm(keycloakRealm({ users: [bad, fine] }));
      expect(report.counts.users).toEqual({ created: 1, updated: 0, unchanged: 0, 'left out': 1 });
      expect(note(report, 'user-refused')?.items).toEqual([bad.username]);
    } finally {
      await db().raw('drop trigger refuse_bob on users');
      await db().raw('drop function refuse_bob()');
    }
    expect([await findUser(fine.username), await findUser(bad.username)]).toEqual([expect.anything(), undefined]);
  });
});

describe('roles and groups', () => {
  it('permit nothing, whatever they are called, and composites are what they contain', async () => {
    const username = unique('ada');
    const user = keycloakUser(username, {
      realmRoles: ['default-roles-acme', 'admin'],
      clientRoles: { 'realm-management': ['realm-admin'], account: ['view-profile'] },
      groups: ['/staff/night~/shift', '/nowhere'],
      credentials: [pbkdf2Credential('pbkdf2-sha256')],
    });
    const report = await importRealm(keycloakRealm({ realm: unique('acme'), users: [user] }));
    const held = (await heldBy(user.id)).filter((name) => name !== 'user');
    expect(held.map((name) => name.replace(/^acme-[^/]+\//, ''))).toEqual(
      expect.arrayContaining(['admin', 'editor', 'reader', 'shop/orders']),
    );
    expect(held).not.toContain('admin');
    // What the group has is the group's, and the user's by that.
    expect((await rolesOf(user.id)).filter((name) => /editor|orders/.test(name))).toEqual([]);
    expect(note(report, 'keycloak-roles')?.items).toEqual([`${username}: realm-management/realm-admin`]);
    expect(note(report, 'role-renamed')?.items[0]).toMatch(/^admin -> acme-[^/]+\/admin$/);
    const ranks = await db()('roles').whereIn('name', held).pluck('rank');
    expect(Math.max(...ranks)).toBeLessThan(10);
    const given = await db()('rolePermissions').join('roles', 'roles.id', 'role_id').whereIn('name', held);
    expect(given).toEqual([]);
    expect((await signInAs(username)).url.pathname).toBe('/account');

    const places = await db()('groupMembers').join('groups', 'groups.id', 'groupId').where({ userId: user.id });
    expect(places.map(({ name }) => name)).toEqual(['night/shift']);
    expect((await db()('groups').where({ id: places[0].parentId }).first()).name).toBe('staff');
    const ofGroup = (groupId: string) =>
      db()('roleGrants').join('roles', 'roles.id', 'roleId').where({ groupId }).pluck('name');
    const [staff, shift] = await Promise.all([places[0].parentId, places[0].id].map(ofGroup));
    expect([staff, shift]).toEqual([expect.arrayContaining([expect.stringMatching(/editor$/)]), []]);
  });
});

describe('groups', () => {
  it('have their roles: who joins has them, who leaves has them no more, and so has a group within', async () => {
    const [ada, bob] = ['ada', 'bob'].map((name) => keycloakUser(unique(name))) as [
      ReturnType<typeof keycloakUser>,
      ReturnType<typeof keycloakUser>,
    ];
    const deep = { name: 'c', clientRoles: { shop: ['orders'] }, subGroups: [] };
    const groups = [{ name: 'a', realmRoles: ['reader'], subGroups: [{ name: 'b', subGroups: [deep] }] }];
    const users = [{ ...ada, groups: ['/a/b/c'] }, bob].map((user) => ({ ...user, realmRoles: [] }));
    await importRealm(keycloakRealm({ realm: unique('acme'), groups, users }));
    const names = async (id: string) =>
      (await heldBy(id)).map((name) => name.replace(/^.*?(shop\/orders|reader)$/, '$1')).sort();
    expect(await rolesOf(ada.id)).toEqual([]);
    expect(await names(ada.id)).toEqual(['reader', 'shop/orders', 'user']);
    const { groupId } = await db()('groupMembers').where({ userId: ada.id }).first('groupId');
    await db()('groupMembers').insert({ groupId, userId: bob.id });
    expect(await names(bob.id)).toEqual(['reader', 'shop/orders', 'user']);
    await db()('groupMembers').delete().where({ groupId });
    expect([await names(ada.id), await names(bob.id)]).toEqual([['user'], ['user']]);
  });

  it('are left out beyond ten levels', async () => {
    const nest = (level: number): object => ({
      name: `level ${level}`,
      subGroups: level < 12 ? [nest(level + 1)] : [],
    });
    const report = await importRealm({ realm: unique('acme'), groups: [nest(1)] });
    expect([report.counts.groups, note(report, 'group-too-deep')?.count]).toEqual([
      { created: 10, updated: 0, unchanged: 0, 'left out': 1 },
      1,
    ]);
  });

  it('take over what an earlier version had given to each member, and nobody loses anything', async () => {
    const realm = unique('acme');
    const people = ['ada', 'bob', 'eve', 'joe'].map((name) => keycloakUser(unique(name)));
    const [ada, bob, eve, joe] = people as [
      (typeof people)[0],
      (typeof people)[0],
      (typeof people)[0],
      (typeof people)[0],
    ];
    const roles = { realm: ['one', 'two', 'three'].map((name) => ({ id: randomUUID(), name: `${realm} ${name}` })) };
    const [one, two, three] = roles.realm.map(({ name }) => name) as [string, string, string];
    const users = [
      { ...ada, groups: ['/a/b'] },
      { ...bob, groups: ['/a/b'], realmRoles: [two] },
      { ...eve, groups: ['/a'] },
      { ...joe, groups: ['/a/b'] },
    ];
    const groups = [
      {
        id: randomUUID(),
        name: 'a',
        realmRoles: [one],
        subGroups: [{ id: randomUUID(), name: 'b', realmRoles: [two], subGroups: [] }],
      },
    ];
    const path = writeRealm({ realm, roles, groups, users });
    await importFrom(path);

    // As the earlier version left it.
    const system = `keycloak:${realm}`;
    const { app } = server;
    const idOf = async (name: string) => (await db()('roles').where({ name }).first('id')).id;
    const give = async (userId: string, name: string) =>
      db()('roleGrants')
        .insert({ userId, roleId: await idOf(name), grantedBy: 'keycloak' })
        .onConflict()
        .ignore();
    await db()('roleGrants')
      .whereNotNull('groupId')
      .whereIn('roleId', [await idOf(one), await idOf(two)])
      .delete();
    await db()('externalReferences').where({ system, kind: 'group' }).update({ fingerprint: '' });
    for (const { id } of [ada, bob, joe]) for (const name of [one, two]) await give(id, name);
    await give(eve.id, one);
    await give(ada.id, three);
    const earlier = (user: PlannedUser, given: string[]) =>
      app.secrets.mac(
        'external-reference',
        JSON.stringify({ ...withoutGroupRoles(user), roles: given.map((name) => JSON.stringify([name])) }),
      );
    const planned = await plannedUsers(path);
    const given: Record<string, string[]> = { [bob.id]: [two, one], [eve.id]: [one] };
    for (const user of planned)
      await db()('externalReferences')
        .where({ system, kind: 'user', externalId: user.externalId })
        .update({ fingerprint: earlier(user, given[user.externalId] ?? [one, two]) });
    // Joe has left the group here since, and keeps what he had besides.
    await db()('groupMembers').where({ userId: joe.id }).delete();
    const before = await Promise.all(people.map(({ id }) => heldBy(id)));

    const report = await importFrom(path);
    expect([report.counts.groups.updated, report.counts.users]).toEqual([
      2,
      { created: 0, updated: 0, unchanged: 4, 'left out': 0 },
    ]);
    expect(await Promise.all(people.map(({ id }) => heldBy(id)))).toEqual(before);
    expect(await Promise.all(people.map(({ id }) => rolesOf(id)))).toEqual([[three], [two], [], [one, two].sort()]);
    const [after, audits] = [await dump(), await db()('auditLogs').count('* as n').first()];
    await importFrom(path);
    expect([await dump(), await db()('auditLogs').count('* as n').first()]).toEqual([after, audits]);
  });
});

describe('doing it again', () => {
  it('a dry run writes nothing and says the same, and a second run changes nothing', async () => {
    const users = [
      keycloakUser(unique('ada'), {
        credentials: [await argon2Credential()],
        groups: ['/staff'],
        realmRoles: ['editor'],
      }),
      keycloakUser(unique('bob'), { credentials: [{ type: 'password', value: password }] }),
    ];
    const clients = [{ clientId: unique('shop'), redirectUris: ['https://shop.example.com/cb'], secret: 'x' }];
    const path = writeRealm(keycloakRealm({ realm: unique('acme'), users, clients }));
    const audits = async () => Number((await db()('auditLogs').count('* as n').first())?.n);
    const [before, auditedBefore] = [await dump(), await audits()];
    const dry = await importFrom(path, 'dry-run');
    expect([await dump(), await audits()]).toEqual([before, auditedBefore]);
    expect(await importFrom(path)).toEqual({ ...dry, dryRun: false });

    const [after, auditedAfter] = [await dump(), await audits()];
    expect(auditedAfter).toBeGreaterThan(auditedBefore);
    const again = await importFrom(path);
    expect([await dump(), await audits()]).toEqual([after, auditedAfter]);
    for (const counts of Object.values(again.counts)) expect([counts.created, counts.updated]).toEqual([0, 0]);
    expect(again.counts.users.unchanged).toBe(2);
  });

  it('people follow who changed in Keycloak, but not who changed here, or was given a higher role', async () => {
    const [ada, bob, eve] = ['ada', 'bob', 'eve'].map((name) => keycloakUser(unique(name))) as [
      ReturnType<typeof keycloakUser>,
      ReturnType<typeof keycloakUser>,
      ReturnType<typeof keycloakUser>,
    ];
    const realm = keycloakRealm({ users: [ada, bob, eve] });
    await importRealm(realm);
    await db()('users').where({ id: bob.id }).update({ name: 'Robert', updatedAt: db().fn.now() });
    await db()('roleGrants').insert({ userId: eve.id, roleId: db()('roles').where({ name: 'admin' }).select('id') });

    const changes = { firstName: 'Changed', enabled: false, credentials: [pbkdf2Credential('pbkdf2-sha512')] };
    const users = [ada, bob, eve].map((user) => ({ ...user, ...changes }));
    const report = await importRealm({ ...realm, users });
    expect(report.counts.users).toEqual({ created: 0, updated: 1, unchanged: 2, 'left out': 0 });
    expect(note(report, 'user-changed-here')?.items).toEqual([bob.username, eve.username]);
    expect(await findUser(ada.username)).toMatchObject({ name: 'Changed Lovelace', status: 'deactivated' });
    expect(await findUser(bob.username)).toMatchObject({ name: 'Robert', status: 'active', passwordHash: null });
    expect(await findUser(eve.username)).toMatchObject({ status: 'active', passwordHash: null });
  });

  it('two at once make one of each', async () => {
    const path = writeRealm(
      keycloakRealm({ realm: unique('acme'), users: Array.from({ length: 20 }, () => keycloakUser(unique('ada'))) }),
    );
    const reports = await Promise.all([importFrom(path), importFrom(path)]);
    expect(reports.map(({ counts }) => counts.users.created).sort()).toEqual([0, 20]);
    expect(reports.map(({ counts }) => counts.users['left out'])).toEqual([0, 0]);
  });
});

describe('a client of Keycloak', () => {
  const secret = 'kC0m2V1b3qHq7W3S5r9w1XvJdQy8TzZl';
  const importClient = async (members: object, ...flags: string[]) => {
    const clientId = unique('shop');
    const report = await importRealm(
      keycloakRealm({ clients: [{ id: randomUUID(), clientId, ...members }] }),
      ...flags,
    );
    return { clientId, report, row: await db()('clients').where({ clientId }).first() };
  };

  it('keeps its id and secret, and acts for itself', async () => {
    const { clientId, row, report } = await importClient({
      name: 'Shop',
      secret,
      serviceAccountsEnabled: true,
      rootUrl: 'https://shop.example.com',
      redirectUris: ['/callback', 'https://shop.example.com/*'],
      attributes: { 'post.logout.redirect.uris': '+##https://shop.example.com/bye' },
      defaultClientScopes: ['web-origins', 'profile', 'email', 'roles', 'orders'],
      optionalClientScopes: ['offline_access'],
      webOrigins: ['+', 'https://other.example.com'],
    });
    expect(row).toMatchObject({
      clientName: 'Shop',
      redirectUris: ['https://shop.example.com/callback'],
      postLogoutRedirectUris: ['https://shop.example.com/bye', 'https://shop.example.com/callback'],
      grantTypes: ['authorization_code', 'refresh_token', 'client_credentials'],
      scope: 'openid profile email offline_access',
      tokenEndpointAuthMethod: 'client_secret_basic',
      requirePkce: false,
      firstParty: false,
    });
    expect(JSON.stringify(row)).not.toContain(secret);
    for (const [code, item] of [
      ['client-redirect-wildcard', 'https://shop.example.com/*'],
      ['client-scopes', 'orders'],
      ['client-origins', 'https://other.example.com'],
    ] as const)
      expect(note(report, code)?.items).toEqual([`${clientId}: ${item}`]);
    const token = await fetch(`${server.issuer}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    });
    expect(token.status).toBe(200);
  });

  for (const [name, members, expected, code] of [
    [
      'public',
      { publicClient: true, redirectUris: ['http://localhost:8080/cb'] },
      { tokenEndpointAuthMethod: 'none', applicationType: 'native', requirePkce: true },
      'client-pkce',
    ],
    [
      'with direct access grants',
      { directAccessGrantsEnabled: true, redirectUris: [], secret },
      { grantTypes: ['password', 'refresh_token'] },
      'client-without-redirect',
    ],
    [
      'with wildcards alone',
      { redirectUris: ['*'], secret },
      { redirectUris: [], grantTypes: [] },
      'client-redirect-wildcard',
    ],
    [
      'with a masked secret',
      { redirectUris: ['https://a.example.com/cb'], secret: '**********' },
      { tokenEndpointAuthMethod: 'client_secret_basic' },
      'client-new-secret',
    ],
    [
      'with a secret that can be guessed',
      { redirectUris: ['https://a.example.com/cb'], secret: 'password' },
      {},
      'client-new-secret',
    ],
    [
      'that authenticates by HMAC',
      { redirectUris: ['https://a.example.com/cb'], clientAuthenticatorType: 'client-secret-jwt', secret },
      {},
      'client-authentication',
    ],
    [
      'with the implicit flow',
      { redirectUris: ['https://a.example.com/cb'], implicitFlowEnabled: true, secret },
      { responseTypes: ['code'] },
      'client-implicit',
    ],
    [
      'with protocol mappers',
      { redirectUris: ['https://a.example.com/cb'], protocolMappers: [{ name: 'dept' }], secret },
      {},
      'client-mappers',
    ],
  ] as const)
    it(`comes over, with a word about it: one ${name}`, async () => {
      const { clientId, row, report } = await importClient(members);
      expect(row).toMatchObject(expected);
      expect(note(report, code)?.items[0]).toMatch(clientId);
    });

  for (const [name, members, code] of [
    ['SAML', { protocol: 'saml' }, 'client-not-openid'],
    ['an API', { bearerOnly: true }, 'client-bearer-only'],
    ['disabled', { enabled: false }, 'client-disabled'],
    ['one that fits nobody', { redirectUris: ['https://a.example.com/cb#fragment'], secret }, 'client-refused'],
  ] as const)
    it(`is left out: ${name}`, async () => {
      const { clientId, row, report } = await importClient(members);
      expect([row, report.counts.clients['left out']]).toEqual([undefined, 1]);
      expect(note(report, code)?.items[0]).toMatch(clientId);
    });

  it('is the operator’s own if that is said, and Keycloak asked no consent', async () => {
    const uris = { redirectUris: ['https://a.example.com/cb'], secret };
    expect((await importClient(uris, 'first-party')).row.firstParty).toBe(true);
    expect((await importClient({ ...uris, consentRequired: true }, 'first-party')).row.firstParty).toBe(false);
  });

  it('takes nobody’s id, and Keycloak’s own do not come over', async () => {
    const { client_id: clientId } = await server.client({ redirect_uris: ['https://a.example.com/cb'] });
    const before = await db()('clients').where({ clientId }).first();
    const clients = [{ clientId, secret }, { clientId: 'account' }, { clientId: 'realm-management', bearerOnly: true }];
    const report = await importRealm(keycloakRealm({ clients }));
    expect([report.counts.clients, note(report, 'client-taken')?.items]).toEqual([
      { created: 0, updated: 0, unchanged: 0, 'left out': 1 },
      [clientId],
    ]);
    expect(await db()('clients').where({ clientId }).first()).toEqual(before);
  });
});

describe('an identity provider of Keycloak', () => {
  it('comes over with the links to it, disabled while its secret is masked', async () => {
    const alias = unique('corp');
    const username = unique('ada');
    const user = keycloakUser(username, {
      federatedIdentities: [
        { identityProvider: alias, userId: 'subject-1', userName: username },
        { identityProvider: 'twitter', userId: '1', userName: username },
      ],
    });
    const config = { issuer: 'https://id.corp.example', clientId: 'keycloak', clientSecret: '**********' };
    const realm = keycloakRealm({
      users: [user],
      identityProviders: [
        { alias, displayName: 'Corp', providerId: 'oidc', enabled: true, config },
        { alias: 'twitter', providerId: 'twitter', enabled: true, config: {} },
      ],
    });
    const report = await importRealm(realm);
    const row = await db()('identityProviders').where({ id: alias }).first();
    expect(row.metadata).toMatchObject({ preset: 'oidc', enabled: false, client_id: 'keycloak', name: 'Corp' });
    expect(await db()('identities').where({ userId: user.id })).toEqual([
      expect.objectContaining({ providerId: alias, issuer: '', subject: 'subject-1' }),
    ]);
    expect(note(report, 'provider-disabled')?.items).toEqual([alias]);
    expect(note(report, 'provider-callback')?.items).toEqual([
      `${alias}: ${server.issuer}/auth/social/${alias}/callback`,
    ]);
    expect(note(report, 'provider-unsupported')?.items).toEqual(['twitter (twitter)']);
    expect(note(report, 'link-left-out')?.items).toEqual([`${username}: twitter`]);
  });

  it('signs in whom it signed in before, with its secret from the export', async () => {
    const peer = await startOpenIdPeer({ name: 'Corp' }, []);
    try {
      const alias = unique('corp');
      const username = unique('ada');
      peer.accounts.push({ login: username, id: 'subject-3', email: 'ada@elsewhere.example', verified: true });
      peer.redirectUris.push(`${server.issuer}/auth/social/${alias}/callback`);
      const federatedIdentities = [{ identityProvider: alias, userId: 'subject-3', userName: username }];
      const config = { issuer: peer.origin, clientId: peer.clientId, clientSecret: peer.clientSecret };
      await importRealm(
        keycloakRealm({
          users: [keycloakUser(username, { federatedIdentities })],
          identityProviders: [{ alias, providerId: 'keycloak-oidc', enabled: true, config }],
        }),
      );
      const browser = new Browser(server.issuer);
      const page = await throughPeer(browser, peer, alias, { login: username });
      expect(page.url.pathname).toBe('/account');
      expect(await whoIsSignedIn(server, browser)).toBe(`${username}@example.com`);
    } finally {
      await peer.stop();
    }
  });

  it('whose alias is the name of an endpoint here gets another id, by which it can be changed and deleted', async () => {
    const config = {
      issuer: 'https://id.corp.example',
      clientId: 'keycloak',
      clientSecret: 'a secret of the provider',
    };
    await importRealm(keycloakRealm({ identityProviders: [{ alias: 'Token', providerId: 'oidc', config }] }));
    expect(await db()('identityProviders').where({ id: 'token' })).toEqual([]);
    expect(await db()('identityProviders').where({ id: 'keycloak-token' }).delete()).toBe(1);
  });

  it('is not taken for another one of the same name: links to that would sign in strangers', async () => {
    const alias = unique('corp');
    const provider = (issuer: string) => ({
      alias,
      providerId: 'oidc',
      config: { issuer, clientId: 'keycloak', clientSecret: 'a secret of the provider' },
    });
    await importRealm(keycloakRealm({ identityProviders: [provider('https://id.corp.example')] }));
    const federatedIdentities = [{ identityProvider: alias, userId: 'subject-2', userName: 'x' }];
    const user = keycloakUser(unique('eve'), { federatedIdentities });
    const report = await importRealm(
      keycloakRealm({ users: [user], identityProviders: [provider('https://id.evil.example')] }),
    );
    expect(note(report, 'provider-taken')?.items).toEqual([alias]);
    expect(await db()('identities').where({ userId: user.id })).toEqual([]);
  });
});

describe('the files', () => {
  it('users of a folder in several files come over, in the order of their numbers', async () => {
    const folder = newFolder();
    const names = Array.from({ length: 12 }, () => unique('ada'));
    writeFileSync(join(folder, 'acme-realm.json'), JSON.stringify(keycloakRealm()));
    for (const [at, name] of names.entries())
      writeFileSync(
        join(folder, `acme-users-${at}.json`),
        JSON.stringify({ realm: 'acme', users: [keycloakUser(name)] }),
      );
    const report = await importFrom(folder);
    expect(report.counts.users.created).toBe(12);
    expect(note(report, 'user-username')?.items).toEqual(names);
  });

  for (const [name, write, message] of [
    ['is not there', () => '/nowhere/at-all.json', /there is no such file or folder/],
    ['is no JSON', () => writeText('hello'), /not a JSON object/],
    ['is a text with brackets', () => writeText('# Read me\n[a link]'), /not a JSON object/],
    ['begins with a link', () => writeText('[a link](https://x.example)'), /not a JSON object/],
    ['breaks off', () => writeText('{ "realm": "acme", "users": [ {'), /not whole/],
    ['has several realms', () => writeText('[ { "realm": "acme" } ]'), /several realms/],
    ['is another document', () => writeText('{ "hello": "world" }'), /no realm export/],
    ['is a folder without a realm', () => newFolder(), /found none/],
  ] as const)
    it(`is refused when it ${name}`, async () => {
      await expect(importFrom(write())).rejects.toThrow(message);
    });

  it('of which the last user is cut off is imported up to there, and says so', async () => {
    const user = keycloakUser(unique('ada'));
    const text = JSON.stringify({ realm: unique('acme'), id: randomUUID(), users: [user, user] });
    // The realm itself is read first, so nothing happens at all.
    await expect(importFrom(writeText(text.slice(0, -20)))).rejects.toThrow(/not whole/);
    expect(await findUser(user.username)).toBeUndefined();
  });
});

const writeText = (text: string): string => {
  const path = join(newFolder(), 'realm.json');
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
};

describe('the realms that Keycloak publishes', () => {
  const folder = fileURLToPath(new URL('../data/keycloak/published/', import.meta.url));
  /** Users, roles, clients and identity providers that are made, and that are left out. */
  const expected: Record<string, { made: number[]; leftOut: number[]; says: NoteCode[] }> = {
    'device-realm.json': { made: [1, 0, 1, 0], leftOut: [0, 0, 0, 0], says: ['user-unverified', 'client-pkce'] },
    'google-identity-provider-realm.json': {
      made: [1, 1, 0, 1],
      leftOut: [0, 0, 1, 0],
      says: ['keycloak-roles', 'role-unknown', 'client-unreadable', 'provider-callback'],
    },
    'nodejs-example-realm.json': {
      made: [0, 2, 2, 0],
      leftOut: [1, 0, 0, 0],
      says: ['user-bad-email', 'role-renamed', 'client-redirect-wildcard', 'client-policies'],
    },
    'rest-authz-realm.json': { made: [2, 2, 1, 0], leftOut: [0, 0, 0, 0], says: ['client-new-secret'] },
    // The same realm as the one before, with one person and one role more.
    'spa-realm.json': { made: [1, 1, 1, 0], leftOut: [0, 0, 0, 0], says: ['client-without-redirect'] },
  };
  it('are all tried', () =>
    expect(readdirSync(folder).filter((name) => name.endsWith('.json'))).toEqual(Object.keys(expected)));
  for (const [name, { made, leftOut, says }] of Object.entries(expected))
    it(`${name} comes over, and again without a change`, async () => {
      const path = join(folder, name);
      const dry = await importFrom(path, 'dry-run');
      const report = await importFrom(path);
      expect(report).toEqual({ ...dry, dryRun: false });
      const counted = (outcome: 'created' | 'left out') =>
        (['users', 'roles', 'clients', 'identity providers'] as const).map((kind) => report.counts[kind][outcome]);
      expect([counted('created'), counted('left out')]).toEqual([made, leftOut]);
      for (const code of says) expect([code, note(report, code)]).toEqual([code, expect.anything()]);
      const before = await dump();
      await importFrom(path);
      expect(await dump()).toEqual(before);
    });
});
