/** Roles, and what people, groups and API keys were given, in the matrix; see `authorization-matrix.ts`. */
import { type Matrix, only, type Place, type Row, type Single, type Table, table } from './authorization-matrix.ts';
import { grantPermission, grantRole, makeGroup, makeRole } from './organizations.ts';
import type { Attempt } from './route-cases.ts';

/** A role that permits nothing is given and taken in the organization of whom it is given to. */
const given = table(`
                                          A    child  sibling  parent  B    none
  nobody                                  401  401    401      401     401  401
  stranger, user of A, moderator          403  403    403      403     403  403
  manager of A, owner of A, key           ok   ok     404      404     404  404
  everything in A                         ok   ok     404      404     404  404
  manager of child                        404  ok     404      404     404  404
  manager of sibling                      404  404    ok       404     404  404
  manager of parent                       ok   ok     ok       ok      404  404
  manager of B                            404  404    404      404     ok   404
  admin, super_admin, machine             ok   ok     ok       ok      ok   ok
`);
/** Where no organization is named it is refused whoever it is for, and what was given everywhere is not theirs to see. */
const givenAnywhere: Table = Object.fromEntries(
  Object.entries(given).map(([subject, cells]) => [
    subject,
    { ...cells, none: cells.none === '404' ? '403' : cells.none },
  ]),
) as Table;
/** Everywhere, to somebody of the place: nobody gives it whose power ends at an organization. */
const everywhere = table(`
                                          A    B
  nobody                                  401  401
  stranger, user of A, moderator          403  403
  manager of A, owner of A, key           403  403
  everything in A                         403  403
  manager of child, manager of sibling    403  403
  manager of parent, manager of B         403  403
  admin, super_admin, machine             ok   ok
`);
const hidden = table(`
                                          A    B
  nobody                                  401  401
  stranger, user of A, moderator          403  403
  manager of A, owner of A, key           404  404
  everything in A                         404  404
  manager of child, manager of sibling    404  404
  manager of parent, manager of B         404  404
  admin, super_admin, machine             ok   ok
`);

interface Kind {
  noun: 'User' | 'Group' | 'ApiKey';
  make(matrix: Matrix, place: Place): Promise<string>;
  subject(id: string): { userId: string } | { groupId: string } | { apiKeyId: string };
}
const kinds: readonly Kind[] = [
  {
    noun: 'User',
    make: async (matrix, place) => (await matrix.accountIn(place)).id,
    subject: (userId) => ({ userId }),
  },
  {
    noun: 'Group',
    make: async (matrix, place) =>
      (await makeGroup(matrix.world.server, { organizationId: matrix.organizationOf(place) })).id,
    subject: (groupId) => ({ groupId }),
  },
  {
    noun: 'ApiKey',
    make: async (matrix, place) => matrix.world.apiKey((await matrix.accountIn(place)).id),
    subject: (apiKeyId) => ({ apiKeyId }),
  },
];

const role = async ({ world }: Matrix) => makeRole(world.server, [], { rank: 0 });
/** A permission that no route asks for and everybody holds: what is one's own is given by anybody who may give. */
const permission = 'notes:read:own';

const grantsOf = ({ noun, make, subject }: Kind): Record<string, Row> => {
  const placed = (matrix: Matrix, place: Place) => {
    const organizationId = matrix.organizationOf(place);
    return organizationId ? { organizationId } : {};
  };
  /** People have all places. */
  const some = (expected: Table) => (noun === 'User' ? expected : only(expected, 'A', 'child', 'B', 'none'));
  const listing = (expected: Table): Single => ({
    table: expected,
    attempt: async (matrix, place) => ({ params: { id: await make(matrix, place) } }),
  });
  const giving = (body: (matrix: Matrix) => Promise<Attempt['body']>): Single[] => [
    {
      table: some(givenAnywhere),
      attempt: async (matrix, place) => ({
        params: { id: await make(matrix, place) },
        body: { ...(await body(matrix)), ...placed(matrix, place) },
      }),
    },
    {
      title: 'everywhere',
      table: everywhere,
      attempt: async (matrix, place) => ({
        params: { id: await make(matrix, place) },
        body: (await body(matrix)) ?? {},
      }),
    },
  ];
  const taking = (grant: (matrix: Matrix, id: string, organizationId?: string) => Promise<string>): Single[] => [
    {
      table: some(given),
      attempt: async (matrix, place) => {
        const id = await make(matrix, place);
        return { params: { id, grantId: await grant(matrix, id, matrix.organizationOf(place)) } };
      },
    },
    {
      title: 'everywhere',
      table: hidden,
      attempt: async (matrix, place) => {
        const id = await make(matrix, place);
        return { params: { id, grantId: await grant(matrix, id) } };
      },
    },
  ];
  const server = (matrix: Matrix) => matrix.world.server;
  return {
    [`listRolesOf${noun}`]: listing(some(given)),
    [`listPermissionsOf${noun}`]: listing(some(given)),
    [`grantRoleTo${noun}`]: giving(async (matrix) => ({ role: (await role(matrix)).name })),
    [`grantPermissionTo${noun}`]: giving(async () => ({ permission })),
    [`revokeRoleOf${noun}`]: taking(async (matrix, id, organizationId) =>
      grantRole(server(matrix), subject(id), (await role(matrix)).name, { organizationId }),
    ),
    [`revokePermissionOf${noun}`]: taking((matrix, id, organizationId) =>
      grantPermission(server(matrix), subject(id), permission, { organizationId }),
    ),
  };
};

/** Roles are one list for all, which those see who give some of them. */
const catalogue = table(`
                                          none
  nobody                                  401
  stranger, user of A, moderator          403
  manager of A, owner of A, key           ok
  everything in A                         ok
  manager of child, manager of sibling    ok
  manager of parent, manager of B         ok
  admin, super_admin, machine             ok
`);

/** What somebody of the place may do. */
const askedAbout = table(`
                                          A    B    none
  nobody                                  401  401  401
  stranger, user of A, moderator          403  403  403
  manager of A, owner of A, key           403  403  403
  everything in A                         403  403  403
  manager of child, manager of sibling    403  403  403
  manager of parent, manager of B         403  403  403
  admin, super_admin, machine             ok   ok   ok
`);
const question = async (matrix: Matrix, place: Place) => ({
  subject: { type: 'user', id: (await matrix.accountIn(place)).id },
  action: { name: 'read' },
  resource: { type: 'users', id: matrix.people.stranger.id },
});

export const roleRows: Record<string, Row> = {
  ...Object.assign({}, ...kinds.map(grantsOf)),
  checkAuthorization: {
    table: askedAbout,
    attempt: async (matrix, place) => {
      const { action, ...rest } = await question(matrix, place);
      return { body: { checks: [{ ...rest, action: action.name }] } };
    },
  },
  authzenEvaluation: { table: askedAbout, attempt: async (matrix, place) => ({ body: await question(matrix, place) }) },
  authzenEvaluations: {
    table: askedAbout,
    attempt: async (matrix, place) => ({ body: { evaluations: [await question(matrix, place)] } }),
  },
  listRoles: { table: catalogue, attempt: () => ({}) },
  listPermissions: { table: catalogue, attempt: () => ({}) },
  getRole: { table: catalogue, attempt: async (matrix: Matrix) => ({ params: { id: (await role(matrix)).id } }) },
  ...Object.fromEntries(
    [
      ...['createRole', 'updateRole', 'deleteRole', 'describePermission', 'deletePermission', 'getEffectiveAccess'],
      'assignRole',
    ].map((id) => [id, 'none' as const]),
  ),
};
