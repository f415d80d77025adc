/** What `bench/lists.ts` asks of each list: by operation, as whom, and with which filters. */
import { emailOf, randomId, type Sizes, timedId } from './lists-data.ts';

/** `large` owns an organization that a tenth of all is beneath, `small` one that nothing is beneath, `user` is in a few groups. */
export interface Ask {
  as: 'super_admin' | 'large' | 'small' | 'user';
  params?: Record<string, string>;
  query?: Record<string, string>;
}

/** A page in the middle of a list that is ordered by ids. */
const cursorOf = (key: string) => Buffer.from(key).toString('base64url');

export const asks = (sizes: Sizes): Record<string, readonly Ask[]> => {
  const { users, organizations, groups } = sizes;
  const largest = randomId('organization', 0);
  const smallest = randomId('organization', organizations - 1);
  const middle = { cursor: cursorOf(timedId(Math.floor(users / 2))) };
  /** … or by when accounts were made. */
  const madeMiddle = { cursor: cursorOf(`2025-01-05T01:00:00.000000Z/${timedId(0)}`) };
  const someone = { id: timedId(4711 % users) };
  const all = (query: Record<string, string>) => ({ as: 'super_admin' as const, query });
  const accounts: Ask[] = [
    all({}),
    all(middle),
    all({ q: 'ada' }),
    all({ q: emailOf(123).slice(0, 6) }),
    all({ q: 'zzzz' }),
    all({ q: 'a' }),
    all({ role: 'moderator' }),
    all({ role: 'super_admin' }),
    all({ role: 'user', ...middle }),
    all({ status: 'deactivated' }),
    all({ status: 'closed' }),
    all({ role: 'partner', status: 'deactivated' }),
    all({ organizationId: largest }),
    all({ organizationId: smallest }),
    all({ organizationId: largest, q: 'ada' }),
    all({ organizationId: largest, role: 'moderator' }),
    all({ groupId: randomId('group', 0) }),
  ];
  const limited = (['large', 'small'] as const).flatMap((as): Ask[] => [
    { as },
    { as, query: middle },
    { as, query: { q: 'ada' } },
    { as, query: { q: emailOf(123).slice(0, 6) } },
    { as, query: { role: 'moderator' } },
    { as, query: { status: 'deactivated' } },
    { as, query: { organizationId: as === 'large' ? largest : smallest } },
    { as, query: { organizationId: randomId('organization', 12) } },
  ]);
  const lastClient = { cursor: cursorOf('8') };
  const everybodys: Ask[] = [{ as: 'super_admin' }, { as: 'large' }, { as: 'small' }, { as: 'user' }];
  const named = (more: readonly Record<string, string>[]): Ask[] => [
    ...everybodys,
    ...more.flatMap((query) => everybodys.map((ask) => ({ ...ask, query }))),
  ];
  const own: Ask[] = [{ as: 'user' }];
  const operators: Ask[] = [{ as: 'super_admin' }];
  return {
    listUsers: [...accounts, ...limited],
    administerUsers: [
      ...accounts,
      all({ emailVerified: 'false' }),
      all({ createdFrom: '2025-01-05T00:00:00Z', createdTo: '2025-01-05T02:00:00Z' }),
      all({ createdFrom: '2025-01-05T00:00:00Z', ...madeMiddle }),
      all({ createdFrom: '2020-01-01T00:00:00Z', role: 'super_admin' }),
      all({ createdFrom: '2020-01-01T00:00:00Z', status: 'deactivated' }),
      all({ createdFrom: '2025-01-05T00:00:00Z', organizationId: largest }),
    ],
    listUserSessions: [{ as: 'super_admin', params: someone }],
    listUserSignIns: [{ as: 'super_admin', params: someone }],
    listMyActivity: own,
    listMySignIns: own,
    listRequests: own,
    listSessions: own,
    listApiKeys: [...own, all({ userId: someone.id })],
    listClients: [...operators, all(lastClient)],
    listResourceServers: operators,
    listIdentityProviders: operators,
    listSoftwarePolicies: operators,
    listInitialAccessTokens: operators,
    listAuditLogs: [
      ...operators,
      all({ actorId: someone.id }),
      all({ targetId: someone.id }),
      all({ action: 'session.*' }),
    ],

    listOrganizations: named([
      { q: 'turing 1' },
      { kind: 'company' },
      { parentId: largest },
      { ancestorId: largest },
      { isActive: 'false' },
    ]),
    listCompanies: named([{ q: 'turing 1' }, { parentId: largest }, { ancestorId: largest }, { isActive: 'false' }]),
    ...Object.fromEntries(
      ['listOrganizationMembers', 'listOrganizationOwners', 'listInvitations', 'listMailDomains'].map((id) => [
        id,
        [
          { as: 'super_admin', params: { id: largest } },
          { as: 'large', params: { id: largest } },
          { as: 'small', params: { id: smallest } },
        ] satisfies Ask[],
      ]),
    ),
    ...Object.fromEntries(
      ['listCompanyUsers', 'listCompanyOwners'].map((id) => [
        id,
        [
          { as: 'super_admin', params: { id: largest } },
          { as: 'large', params: { id: largest } },
        ] satisfies Ask[],
      ]),
    ),
    listGroups: named([{ q: 'ada 1' }, { kind: 'team' }, { organizationId: largest }, { isActive: 'false' }]),
    listTeams: named([{ q: 'ada 1' }, { organizationId: largest }]),
    listAllTeams: [
      { as: 'super_admin' },
      { as: 'large' },
      { as: 'small' },
      all({ q: 'ada 1' }),
      all({ isActive: 'false' }),
    ],
    ...Object.fromEntries(
      ['listGroupMembers', 'listTeamMembers'].map((id) => [
        id,
        [
          { as: 'super_admin', params: { id: randomId('group', 0) } },
          { as: 'super_admin', params: { id: randomId('group', groups - (groups % 3 || 3)) } },
        ] satisfies Ask[],
      ]),
    ),
    ...Object.fromEntries(
      ['listUserGroups', 'listUserTeams', 'listUserDomains'].map((id) => [
        id,
        [{ as: 'super_admin', params: someone }] satisfies Ask[],
      ]),
    ),
    listDomains: everybodys,
    listAllDomains: operators,
    listDomainUsers: [{ as: 'super_admin', params: { id: randomId('domain', 3) } }],

    listRoles: [...operators, { as: 'large' }],
    listPermissions: [...operators, { as: 'large' }],
    ...Object.fromEntries(
      ['listRolesOfUser', 'listPermissionsOfUser'].map((id) => [
        id,
        [{ as: 'super_admin', params: { id: timedId(7919 % users) } }] satisfies Ask[],
      ]),
    ),
    ...Object.fromEntries(
      ['listRolesOfGroup', 'listPermissionsOfGroup'].map((id) => [
        id,
        [{ as: 'super_admin', params: { id: randomId('group', 0) } }] satisfies Ask[],
      ]),
    ),
    ...Object.fromEntries(
      ['listRolesOfApiKey', 'listPermissionsOfApiKey'].map((id) => [
        id,
        [{ as: 'super_admin', params: { id: timedId(3) } }] satisfies Ask[],
      ]),
    ),
    listPolicies: operators,
    listPolicyTemplates: operators,
  };
};
